package host

import (
	"stint/export/otlp"
	"stint/scrape/series"
)

const (
	load1m = iota
	load5m
	load15m
)

var loadMetrics = []series.Metric{
	load1m: {
		Metric: otlp.Metric{Name: "system.cpu.load_average.1m", Unit: "{thread}", Instrument: otlp.Gauge, Double: true,
			Description: "Threads that run, wait for a CPU or wait for a disk, average over one minute."},
		Source: "/proc/loadavg",
	},
	load5m: {
		Metric: otlp.Metric{Name: "system.cpu.load_average.5m", Unit: "{thread}", Instrument: otlp.Gauge, Double: true,
			Description: "Threads that run, wait for a CPU or wait for a disk, average over five minutes."},
		Source: "/proc/loadavg",
	},
	load15m: {
		Metric: otlp.Metric{Name: "system.cpu.load_average.15m", Unit: "{thread}", Instrument: otlp.Gauge, Double: true,
			Description: "Threads that run, wait for a CPU or wait for a disk, average over fifteen minutes."},
		Source: "/proc/loadavg",
	},
}

// load is the scraper of load averages.
type load struct{ h *Host }

func newLoad(h *Host, _ *Config) scraper { return &load{h} }

func (l *load) close() {}

func (l *load) scrape(p *series.Points, now uint64) error {
	l.h.loadavg.mu.Lock()
	defer l.h.loadavg.mu.Unlock()
	a, err := l.h.loadavg.read(now)
	if err != nil {
		return err
	}
	for i, v := range a.load {
		p.Float(load1m+i, nil, v)
	}
	return nil
}
