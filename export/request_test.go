package export

import (
	"bytes"
	"os"
	"testing"

	"stint/export/otlp"
)

// A chunk of several resources, framed already, is sent, cut, split and changed as the chunks would be that it is made
// of.
func TestFramedChunk(t *testing.T) {
	s := newSource(t)
	var apart []*otlp.Chunk
	var framed []byte
	records := 0
	for _, host := range []string{"a", "b", "c"} {
		c := s.metrics(host, 7, 50)
		apart = append(apart, c)
		framed = append(c.Group.AppendFrame(framed, len(c.Data)), c.Data...)
		records += c.Records
	}
	slab := s.pool.TryGet(len(framed))
	slab.Buf = append(slab.Buf, framed...)
	whole := otlp.NewChunk(slab, slab.Buf)
	whole.Records, whole.Signal = records, otlp.Metrics
	slab.Release()
	defer func() {
		for _, c := range append(apart, whole) {
			c.Settle(otlp.Delivered)
		}
	}()
	r, want := newRequest(otlp.Metrics, []*otlp.Chunk{whole}), newRequest(otlp.Metrics, apart)
	same := func(what string, got, want *request) {
		t.Helper()
		if !bytes.Equal(got.bytes(), want.bytes()) || got.records != want.records {
			t.Errorf("%s: %d records in %d bytes, want %d in %d", what, got.records, len(got.bytes()), want.records, len(want.bytes()))
		}
	}
	same("whole", r, want)
	if r.resources() != 3 {
		t.Errorf("%d resources, want 3", r.resources())
	}
	for n := range records + 1 {
		front, rest, ok := r.cut(n)
		wantFront, wantRest, wantOK := want.cut(n)
		if ok != wantOK {
			t.Fatalf("cut at %d: %t", n, ok)
		}
		same("front", front, wantFront)
		same("rest", rest, wantRest)
		same("behind", r.behind(n), want.behind(n))
	}
	a, b, ok := r.split()
	wantA, wantB, wantOK := want.split()
	if ok != wantOK {
		t.Fatalf("split: %t", ok)
	}
	same("first half", a, wantA)
	same("second half", b, wantB)
	p := Pipeline{Attributes: []AttributeAction{{Key: "x", Value: "y", Type: "string", Action: "insert", Context: "resource"}, {Key: "z", Value: "y", Type: "string", Action: "insert", Context: "record"}}}
	changed, lost, err := newChange(p).apply(r)
	wantChanged, _, _ := newChange(p).apply(want)
	if lost != 0 || err != nil {
		t.Fatalf("%d records are lost: %v", lost, err)
	}
	same("changed", changed, wantChanged)
}

// Who was never run leaves nothing open, and what lay on the disk for its destinations there.
func TestDiscard(t *testing.T) {
	r, down := outage(t)
	dir := t.TempDir()
	open := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	e, stop := spooled(t, dir, Exporters{"otlphttp": to(r)}, SpoolDefaults())
	s := newSource(t)
	for range 5 {
		e.Input(otlp.Metrics, "test")(s.metrics("host", 2, 100))
	}
	eventually(t, "spool", func() bool { return e.Status()[0].Spooled == 10 })
	stop()
	before := open()
	for range 10 {
		x := Exporters{"otlphttp": to(r)}
		e, err := New(Options{Batch: BatchDefaults(), Exporters: x, Pipelines: DefaultPipelines(x, map[string][]string{"metrics": {"test"}}), Spool: SpoolDefaults(), SpoolDir: dir, Version: "1", Log: silent, Registerer: newRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		e.Discard()
	}
	if after := open(); after > before+2 { // connections of other tests may end and begin
		t.Errorf("%d files are open, %d before", after, before)
	}
	down.Store(false)
	e, stop = spooled(t, dir, Exporters{"otlphttp": to(r)}, SpoolDefaults())
	defer stop()
	eventually(t, "delivery", func() bool { return e.Status()[0].Sent == 10 })
}
