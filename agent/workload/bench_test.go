package workload

import (
	"testing"
)

// BenchmarkAppendRecord is the cost of making a record, without write(2).
func BenchmarkAppendRecord(b *testing.B) {
	w, err := New(Config{Root: "unused", Containers: 1})
	if err != nil {
		b.Fatal(err)
	}
	c := w.containers[0]
	var buf []byte
	total := 0
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		buf = w.appendRecord(buf[:0], c)
		total += len(buf)
		n++
	}
	b.SetBytes(int64(total / n))
}

func BenchmarkSequencesAdd(b *testing.B) {
	var s Sequences
	var body []byte
	n := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		body = appendMark(body[:0], "c017-stdout", n)
		s.Add(body)
	}
}
