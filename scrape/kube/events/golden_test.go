package events

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"stint/scrape/kube/follow"
	"stint/scrape/kube/replay"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestGolden: the records of the events that a real API server listed, by either API.
func TestGolden(t *testing.T) {
	var lines []string
	for _, name := range []string{"events.core.v1.json", "events.events.k8s.io.v1.json"} {
		kind := coreEvents
		if strings.Contains(name, "k8s.io") {
			kind = follow.Resource{Group: "events.k8s.io", Version: "v1", Name: "events", Kind: "Event", Namespaced: true, Watchable: true}
		}
		s := replay.New(t)
		s.Have(kind)
		var all []replay.Change
		for i, item := range replay.Items(t, name) {
			if i%4 == 0 {
				all = append(all, replay.Change{Type: follow.Added, Object: item})
			}
		}
		s.SendAll(kind, all)
		p := start(t, s.Client(t), func(_ *Source, cfg *Config) { cfg.Initial = "all" })
		records := p.Wait(len(all))
		p.end()
		for _, r := range records {
			r.ObservedTimeUnixNano = 0
			var line strings.Builder
			for _, kv := range r.Resource {
				line.WriteString(kv.Key + "=" + kv.Value.GetStringValue() + " ")
			}
			b, err := protojson.Marshal(r.LogRecord)
			if err != nil {
				t.Fatal(err)
			}
			var compact bytes.Buffer // protojson puts white space in at random
			json.Compact(&compact, b)
			lines = append(lines, line.String()+compact.String())
		}
	}
	got := []byte(strings.Join(lines, "\n"))
	const name = "testdata/events.golden.gz"
	if *update {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		z.Write(got)
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
	if i := slices.IndexFunc(lines, func(l string) bool { return !bytes.Contains(want, []byte(l)) }); i >= 0 || len(got) != len(want) {
		t.Errorf("go test ./scrape/kube/events -run Golden -update: %d bytes, want %d; not there before: %s", len(got), len(want), append(lines, "nothing")[max(i, 0)])
	}
}
