package objects

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"stint/scrape/kube/follow"
	"stint/scrape/kube/replay"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestGolden: what becomes of the objects that a real API server sent, listed and watched.
func TestGolden(t *testing.T) {
	var text bytes.Buffer
	golden := func(title string, records []replay.Record) {
		text.WriteString("# " + title + "\n")
		for _, r := range records {
			if r.ObservedTimeUnixNano == 0 || r.TimeUnixNano == 0 {
				t.Errorf("no time: %v", r)
			}
			r.ObservedTimeUnixNano, r.TimeUnixNano = 0, 0
			for _, kv := range r.Attributes {
				if kv.Key == "k8s.snapshot.id" {
					kv.Value.Reset()
				}
			}
			b, err := protojson.Marshal(r.LogRecord)
			if err != nil {
				t.Fatal(err)
			}
			var line bytes.Buffer // protojson puts white space in at random
			json.Compact(&line, b)
			text.WriteString(r.ResourceAttr("k8s.namespace.name") + " " + line.String() + "\n")
		}
	}
	s := replay.New(t)
	s.Have(replay.Pods)
	var listed []replay.Change
	for _, item := range replay.Items(t, "pods.page1.json") {
		listed = append(listed, replay.Change{Type: follow.Added, Object: item})
	}
	s.SendAll(replay.Pods, listed)
	p := start(t, s, Resource{Name: "pods"})
	golden("pull of pods.page1.json", p.Wait(5))
	p.end()

	s = replay.New(t)
	s.Have(replay.Pods)
	changes := replay.Changes(t, "watch.pods.batch.jsonl")
	s.SendAll(replay.Pods, changes)
	s.Rewind(325) // the version of the first bookmark, behind which the watch began
	p = start(t, s, Resource{Name: "pods", Mode: "watch"})
	watching(t, s)
	s.SendAll(replay.Pods, changes)
	golden("watch.pods.batch.jsonl", p.Wait(39))
	p.end()

	const name = "testdata/objects.golden.gz"
	if *update {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		z.Write(text.Bytes())
		z.Close()
		os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	want, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	got, old := strings.Split(text.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(old)) {
		if i >= len(got) || i >= len(old) || got[i] != old[i] {
			t.Fatalf("line %d differs; go test ./scrape/kube/objects -run Golden -update\n got %s\nwant %s", i+1, at(got, i), at(old, i))
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "nothing"
}
