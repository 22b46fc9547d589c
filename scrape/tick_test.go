package scrape

import (
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
	"stint/scrape/host"
)

// ticker runs ticks of a grid over this machine, from the goroutines of the scrapers to chunks
// that are settled at once.
func ticker(t testing.TB) (tick func(), chunks *[]int, stop func()) {
	cfg := Defaults()
	log := slog.New(slog.DiscardHandler)
	chunks = new([]int)
	*chunks = make([]int, 0, 16)
	emit := func(_ string, c *otlp.Chunk) {
		*chunks = append(*chunks, len(c.Data))
		c.Settle(otlp.Delivered)
	}
	g, err := New(cfg, []Source{host.New(cfg.Host, cfg.RootPath, "node", "1", nil, 0, log)}, otlp.NewPool(64<<20, nil), emit, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	g.start(t.Context())
	at := time.Unix(1800000000, 0)
	return func() {
		at = at.Add(cfg.Interval)
		*chunks = (*chunks)[:0]
		g.tick(at)
		for range g.scrapers {
			g.finish(<-g.done, nil)
		}
	}, chunks, func() { g.stop(); g.release() }
}

// The whole tick allocates nothing: scrape, hand over, copy into a chunk, count.
func TestTickAllocatesNothing(t *testing.T) {
	tick, chunks, stop := ticker(t)
	defer stop()
	tick()
	// The average is rounded down; a garbage collection in the middle empties otlp's pool of chunks.
	if n := testing.AllocsPerRun(200, tick); n != 0 {
		t.Errorf("a tick allocates %v times", n)
	}
	if len(*chunks) != 1 || (*chunks)[0] < 5000 {
		t.Errorf("chunks of %v bytes, want one with everything", *chunks)
	}
}

// BenchmarkTick is a tick over this machine with the defaults. cpu-ns/op is user and system
// time of the process, on all its threads.
func BenchmarkTick(b *testing.B) {
	tick, chunks, stop := ticker(b)
	defer stop()
	tick()
	b.ReportAllocs()
	used := func() int64 {
		var u syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	for b.Loop() {
		tick()
	}
	b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64((*chunks)[0]), "bytes/op")
}
