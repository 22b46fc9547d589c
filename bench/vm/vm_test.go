// Package vm installs the agent's package on a Debian with nothing but cgroup v2, in a virtual machine, and checks
// the service from the installation to the removal. make test-vm builds all and runs it.
package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stint/bench/machine"
)

var imageDir = flag.String("image", "../bin/vm", "directory of the machine, of checks and the packages")

// machineLimit is for two boots, checks and end, by software emulation on a busy machine.
const machineLimit = 20 * time.Minute

func TestVM(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a virtual machine: make test-vm")
	}
	dir := t.TempDir()
	results, console := filepath.Join(dir, "results"), filepath.Join(dir, "console")
	ctx, cancel := context.WithTimeout(t.Context(), machineLimit)
	defer cancel()
	cmd := machine.Machine{
		Image: *imageDir, Files: files(t), MiB: 1024,
		Args: []string{"-nic", "none", "-serial", "file:" + results},
	}.Command(ctx, t, console)
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(console)
			t.Logf("qemu: %s\nconsole:\n%s", out, text[max(len(text)-8000, 0):])
		}
	})
	if err != nil {
		t.Errorf("qemu, after %v: %v", time.Since(begin).Round(time.Second), err)
	}
	text, err := os.ReadFile(results)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for line := range bytes.Lines(text) {
		var c struct{ Name, Fault, Detail string }
		if err := json.Unmarshal(bytes.TrimSpace(line), &c); err != nil {
			t.Errorf("result %q: %v", line, err)
			continue
		}
		found[c.Name] = true
		if c.Fault != "" {
			t.Errorf("%s: %s", c.Name, c.Fault)
		} else {
			t.Logf("%s: %s", c.Name, c.Detail)
		}
	}
	for _, name := range []string{"cgroup v2", "install", "security", "reload", "host", "journal", "file", "container", "units", "kill", "reboot", "stop", "upgrade", "remove", "purge", "rpm", "end"} {
		if !found[name] {
			t.Errorf("the machine did not tell of the check %s", name)
		}
	}
	t.Logf("%v", time.Since(begin).Round(time.Second))
}

// files makes the directory that the machine gets: the packages, and the checks, which install them.
func files(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, from := range map[string]string{
		"start":   "checks",
		"old.deb": "old/stint-agent_0.0.1_amd64.deb", "new.deb": "new/stint-agent_0.0.2_amd64.deb",
		"old.rpm": "old/stint-agent-0.0.1-1.x86_64.rpm", "new.rpm": "new/stint-agent-0.0.2-1.x86_64.rpm",
	} {
		b, err := os.ReadFile(filepath.Join(*imageDir, from))
		if err != nil {
			t.Fatalf("%v: make test-vm builds it", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
