package host

import (
	"log/slog"
	"syscall"
	"testing"
	"time"

	"stint/export/otlp"
	"stint/scrape/series"
)

// BenchmarkScrape reads this machine once per operation, by scraper and all of them one after
// the other, encoded. cpu-ns/op is user and system time of the process.
func BenchmarkScrape(b *testing.B) {
	benchmarkScrape(b, series.SemConv, "")
	benchmarkScrape(b, series.Prometheus, "names=prometheus/")
	benchmarkScrape(b, series.Both, "names=both/")
}

func benchmarkScrape(b *testing.B, names, prefix string) {
	cfg := Defaults()
	cfg.Names = names
	h := New(cfg, "/", "", "", nil, 0, slog.New(slog.DiscardHandler))
	defer h.Close()
	at := time.Unix(1800000000, 0)
	run := func(name string, parts ...int) {
		b.Run(name, func(b *testing.B) {
			bytes, points := 0, 0
			hand := func(_ *otlp.Group, data []byte, n int) {
				bytes += len(data)
				points += n
			}
			scrape := func() {
				at = at.Add(10 * time.Second)
				for _, i := range parts {
					if err := h.Scrape(b.Context(), i, at, hand); err != nil {
						b.Fatal(err)
					}
				}
			}
			scrape()
			bytes, points = 0, 0
			b.ReportAllocs()
			before := cpuTimeUsed()
			for b.Loop() {
				scrape()
			}
			b.ReportMetric(float64(cpuTimeUsed()-before)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(points)/float64(b.N), "points/op")
			b.ReportMetric(float64(bytes)/float64(b.N), "bytes/op")
		})
	}
	var all []int
	for i, name := range h.Scrapers() {
		all = append(all, i)
		run(prefix+"scraper="+name, i)
	}
	run(prefix+"all", all...)
}

func cpuTimeUsed() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
