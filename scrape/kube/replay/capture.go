package replay

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"io"
	"testing"
)

// What a kube-apiserver v1.37.2 sent (single node, 2026-11-22).
//
//go:embed testdata/*.gz
var captures embed.FS

// Capture is what a real API server sent, by the name of its file.
func Capture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := captures.ReadFile("testdata/" + name + ".gz")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if b, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return b
}

// Change is one line of a watch.
type Change struct {
	Type   string
	Object json.RawMessage
}

// Changes are the lines of a captured watch.
func Changes(t testing.TB, name string) (all []Change) {
	t.Helper()
	for line := range bytes.Lines(Capture(t, name)) {
		var c Change
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// Items are those of a captured list.
func Items(t testing.TB, name string) []json.RawMessage {
	t.Helper()
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(Capture(t, name), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}
