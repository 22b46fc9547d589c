package state

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"stint/export/otlp"
	"stint/scrape/kube/replay"
)

// discard takes chunks as an exporter that is always fast enough.
func discard(c *otlp.Chunk) { c.Settle(otlp.Delivered) }

func podStore(t testing.TB, n int) (*Source, *store, *emitter) {
	t.Helper()
	return podStoreOf(t, Defaults(), n)
}

func podStoreOf(t testing.TB, cfg Config, n int) (*Source, *store, *emitter) {
	t.Helper()
	s, _ := newSource(t, cfg, "http://127.0.0.1:1", discard)
	tm := s.newTerm()
	st := tm.byKind[pods][0]
	for i := range n {
		if err := st.Add(replay.Pod(i)); err != nil {
			t.Fatal(err)
		}
	}
	st.synced = true
	e := s.newEmitter(tm, []*store{st}, func() {})
	e.began = time.Time{} // owners are not waited for
	return s, st, e
}

// Points and resources cost no allocation; a chunk of some hundred points costs what the pool of chunks does not have.
func TestEncodeAllocs(t *testing.T) {
	_, _, e := podStore(t, 1000)
	send := func() { e.interval(context.Background(), time.Now(), time.Hour) }
	send()
	e.enc.records, e.enc.chunks = 0, 0
	n := testing.AllocsPerRun(10, send)
	points, chunks := e.enc.records/11, e.enc.chunks/11
	// Under the race detector the pool of chunks forgets a quarter of them.
	if n > float64(chunks) || points < 100*chunks {
		t.Errorf("%v allocations for %d points in %d chunks", n, points, chunks)
	}
}

// BenchmarkInterval is one interval of many pods, without the pauses that spread it.
func BenchmarkInterval(b *testing.B) {
	for _, n := range []int{3_000, 50_000} {
		b.Run(fmt.Sprintf("pods=%d", n), func(b *testing.B) {
			_, _, e := podStore(b, n)
			at := time.Now()
			e.interval(context.Background(), at, time.Nanosecond+time.Hour)
			e.enc.bytes, e.enc.records = 0, 0
			b.ReportAllocs()
			var rounds int
			for b.Loop() {
				e.enc.now = uint64(at.UnixNano())
				for i := 0; ; {
					st := e.stores[0]
					k, next := st.take(i, &e.rows, &e.at)
					if k == 0 {
						break
					}
					for j := range k {
						if err := e.enc.send(context.Background(), &e.rows[j]); err != nil {
							b.Fatal(err)
						}
					}
					st.mark(e.rows[:k], e.at[:k])
					i = next
				}
				rounds++
			}
			e.enc.release()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rounds*n), "ns/pod")
			b.ReportMetric(float64(e.enc.bytes)/float64(rounds*n), "B/pod")
			b.ReportMetric(float64(e.enc.records)/float64(rounds*n), "points/pod")
		})
	}
}

// BenchmarkRow is a pod that became a row, from the decoded object.
func BenchmarkRow(b *testing.B) {
	s, st, _ := podStore(b, 0)
	_ = s
	objs := make([]*corev1.Pod, 1000)
	for i := range objs {
		objs[i] = replay.Pod(i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := st.Update(objs[i%len(objs)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkRowMemory is the heap that a pod takes once it is a row.
func BenchmarkRowMemory(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const n = 50_000
	for b.Loop() {
		before := heap()
		_, st, e := podStore(b, n)
		e.interval(context.Background(), time.Now().Add(-time.Hour), 2*time.Hour)
		after := heap()
		b.ReportMetric(float64(after-before)/n, "B/pod")
		runtime.KeepAlive(st)
	}
}
