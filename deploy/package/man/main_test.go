package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestPages: a real man formats both pages without a complaint, and every key and every command is in them.
func TestPages(t *testing.T) {
	binary := t.TempDir() + "/stint-agent"
	build := exec.Command("go", "build", "-tags=grpcnotrace", "-o", binary, "stint/cmd/stint-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	page, err := commandPage(binary, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	reference, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"RUN", "CHECK", "CONFIG", "ONCE", "VERSION"} {
		if !strings.Contains(page, "\n.SH "+verb+"\n") {
			t.Errorf("stint-agent.8 has no section %s", verb)
		}
	}
	formatted(t, page)
	text := formatted(t, configurationPage(string(reference), "1.2.3"))
	keys := 0
	for line := range strings.Lines(string(reference)) {
		if key, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "`"); ok && strings.HasPrefix(line, "| `") {
			keys++
			if !strings.Contains(text, key) {
				t.Errorf("stint-agent.yaml.5 does not have %s", key)
			}
		}
	}
	if keys < 200 {
		t.Errorf("only %d keys were looked for", keys)
	}
}

// formatted is what groff makes of a page; without it, the page with its marks of roff undone.
func formatted(t *testing.T, page string) string {
	t.Helper()
	groff, err := exec.LookPath("groff")
	if err != nil {
		return strings.NewReplacer(`\-`, "-", `\e`, `\`, `\&`, "", `\fB`, "", `\fR`, "").Replace(page)
	}
	cmd := exec.Command(groff, "-man", "-Kutf8", "-Tutf8", "-ww", "-P-c", "-rLL=1000n")
	cmd.Stdin = strings.NewReader(page)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || said.Len() > 0 {
		t.Errorf("groff: %v: %s", err, said.String())
	}
	// What is bold is a letter over itself.
	for i := strings.Index(string(out), "\b"); i > 0; i = strings.Index(string(out), "\b") {
		out = append(out[:i-1], out[i+1:]...)
	}
	return string(out)
}
