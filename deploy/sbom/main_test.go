package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestDocument: every module of a binary stands in its document once, and the same binary gives the same bytes.
func TestDocument(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "stint-agent")
	build := exec.Command("go", "build", "-tags=grpcnotrace", "-o", binary, "stint/cmd/stint-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	at := time.Unix(1764000000, 0).UTC()
	got, err := document([]string{binary}, "1.2.3", "abc", at)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := document([]string{binary}, "1.2.3", "abc", at); err != nil || !bytes.Equal(got, again) {
		t.Errorf("the second document is another one: %v", err)
	}
	var doc spdx
	if err := json.Unmarshal(got, &doc); err != nil {
		t.Fatal(err)
	}
	have, ids := map[string]int{}, map[string]bool{"SPDXRef-DOCUMENT": true}
	for _, p := range doc.Packages {
		have[p.Name+"@"+p.Version]++
		if ids[p.ID] {
			t.Errorf("two packages have the id %s", p.ID)
		}
		ids[p.ID] = true
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) < 10 {
		t.Fatalf("the binary names %d modules only", len(info.Deps))
	}
	for _, m := range info.Deps {
		if n := have[m.Path+"@"+m.Version]; n != 1 {
			t.Errorf("%s %s stands in it %d times", m.Path, m.Version, n)
		}
	}
	if len(doc.Relationships) != len(doc.Packages) {
		t.Errorf("%d relationships of %d packages", len(doc.Relationships), len(doc.Packages))
	}
	for _, r := range doc.Relationships {
		if !ids[r.From] || !ids[r.To] {
			t.Errorf("relationship of unknown %s and %s", r.From, r.To)
		}
	}
}
