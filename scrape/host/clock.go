package host

import (
	"errors"
	"math"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	clockOffset = iota
	clockMaxError
	clockEstimatedError
	clockSynchronized
	clockFrequencyRatio
	clockTAIOffset
	clockTick
	clockStatus
	clockTimeConstant
	clockPPS
	clockSource
	clockTimezone
)

const clockAsked = "host.clock.detail is on"

var clockMetrics = []series.Metric{
	clockOffset: {
		Metric: otlp.Metric{Name: "system.clock.offset", Unit: "s", Instrument: otlp.Gauge, Double: true,
			Description: "What the clock is still to be corrected by, as the time daemon told the kernel; chrony steers in another way and leaves 0 here."},
		Source: "adjtimex(2) offset",
	},
	clockMaxError: {
		Metric: otlp.Metric{Name: "system.clock.max_error", Unit: "s", Instrument: otlp.Gauge, Double: true,
			Description: "Bound of the clock's error; it grows by 0.5 ms a second until the time daemon sets it, and stops at 16 s."},
		Source: "adjtimex(2) maxerror",
	},
	clockEstimatedError: {
		Metric: otlp.Metric{Name: "system.clock.estimated_error", Unit: "s", Instrument: otlp.Gauge, Double: true,
			Description: "The clock's error as the time daemon estimates it."},
		Source: "adjtimex(2) esterror",
	},
	clockSynchronized: {
		Metric: otlp.Metric{Name: "system.clock.synchronized", Unit: "1", Instrument: otlp.UpDown,
			Description: "1 while a time daemon keeps the clock right, else 0."},
		Source: "adjtimex(2) return value",
	},
	clockFrequencyRatio: {
		Metric: otlp.Metric{Name: "system.clock.frequency_ratio", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "How much faster than by itself the clock is made to run, as a factor."},
		Source: "adjtimex(2) freq",
		When:   clockAsked,
	},
	clockTAIOffset: {
		Metric: otlp.Metric{Name: "system.clock.tai_offset", Unit: "s", Instrument: otlp.Gauge,
			Description: "International atomic time minus UTC; 0 when the time daemon did not tell the kernel."},
		Source: "adjtimex(2) tai",
		When:   clockAsked,
	},
	clockTick: {
		Metric: otlp.Metric{Name: "system.clock.tick", Unit: "s", Instrument: otlp.Gauge, Double: true,
			Description: "Time between two clock ticks of user space."},
		Source: "adjtimex(2) tick",
		When:   clockAsked,
	},
	clockStatus: {
		Metric: otlp.Metric{Name: "system.clock.status", Unit: "1", Instrument: otlp.Gauge,
			Description: "Status bits of the clock (STA_*)."},
		Source: "adjtimex(2) status",
		When:   clockAsked,
	},
	clockTimeConstant: {
		Metric: otlp.Metric{Name: "system.clock.loop_time_constant", Unit: "1", Instrument: otlp.Gauge,
			Description: "Time constant of the loop that steers the clock."},
		Source: "adjtimex(2) constant",
		When:   clockAsked,
	},
	clockPPS: {
		Metric: otlp.Metric{Name: "system.clock.pps", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "State of the pulse-per-second signal: frequency (factor), jitter (s), shift (s), stability (factor); the others count since boot."},
		Attributes: "system.clock.pps.field=calibration|error|frequency|jitter|jitter_exceeded|shift|stability|stability_exceeded",
		Source:     "adjtimex(2) pps fields",
		When:       clockAsked,
	},
	clockSource: {
		Metric: otlp.Metric{Name: "system.clock.source", Unit: "1", Instrument: otlp.UpDown,
			Description: "1 for each clock source that the kernel has, and for the one that it uses."},
		Attributes: "system.clock.source=<name>; system.clock.source.state=available|current",
		Source:     "/sys/devices/system/clocksource/clocksource0",
		When:       clockAsked,
	},
	clockTimezone: {
		Metric: otlp.Metric{Name: "system.clock.timezone_offset", Unit: "s", Instrument: otlp.Gauge,
			Description: "Local time of the machine minus UTC."},
		Source: "/etc/localtime",
		When:   clockAsked,
	},
}

// clock is the scraper of the machine's clock.
type clock struct {
	detail   bool
	adjtimex func(*unix.Timex) (int, error) // unix.Adjtimex, but for tests
	tx       unix.Timex
	pps      [][]byte

	available, current kernel.File
	names              []byte // contents of the two when sources was made
	sources            [][]byte
	zone               localtime
}

func newClock(h *Host, cfg *Config) scraper {
	dir := h.sys + "/devices/system/clocksource/clocksource0/"
	return &clock{
		detail: cfg.Clock.Detail, adjtimex: unix.Adjtimex, zone: localtime{path: h.root + "/etc/localtime"},
		pps: series.Names("system.clock.pps.field", "calibration", "error", "frequency", "jitter", "jitter_exceeded", "shift", "stability",
			"stability_exceeded"),
		available: kernel.NewFile(dir + "available_clocksource"), current: kernel.NewFile(dir + "current_clocksource"),
	}
}

func (s *clock) close() {
	s.available.Close()
	s.current.Close()
}

// scale16 is the unit of frequencies: 2^-16 parts per million.
const scale16 = 65536 * 1e6

func (s *clock) scrape(p *series.Points, now uint64) error {
	t := &s.tx
	t.Modes = 0 // only read
	state, err := s.adjtimex(t)
	if err != nil {
		return os.NewSyscallError("adjtimex", err)
	}
	unit := 1e6 // of offset and jitter, a second
	if t.Status&unix.STA_NANO != 0 {
		unit = 1e9
	}
	p.Float(clockOffset, nil, float64(t.Offset)/unit)
	p.Float(clockMaxError, nil, float64(t.Maxerror)/1e6)
	p.Float(clockEstimatedError, nil, float64(t.Esterror)/1e6)
	synchronized := uint64(1)
	if state == unix.TIME_ERROR {
		synchronized = 0
	}
	p.Int(clockSynchronized, nil, synchronized)
	if !s.detail {
		return nil
	}
	p.Float(clockFrequencyRatio, nil, 1+float64(t.Freq)/scale16)
	p.Int(clockTAIOffset, nil, uint64(max(t.Tai, 0)))
	p.Float(clockTick, nil, float64(t.Tick)/1e6)
	p.Int(clockStatus, nil, uint64(uint32(t.Status)))
	p.Int(clockTimeConstant, nil, uint64(max(t.Constant, 0)))
	for i, v := range [...]float64{float64(t.Calcnt), float64(t.Errcnt), float64(t.Ppsfreq) / scale16, float64(t.Jitter) / unit,
		float64(t.Jitcnt), math.Ldexp(1, int(t.Shift)), float64(t.Stabil) / scale16, float64(t.Stbcnt)} {
		p.Float(clockPPS, s.pps[i], v)
	}
	return errors.Join(s.fromSys(p), s.zone.scrape(p, now))
}

// fromSys names the clock sources.
func (s *clock) fromSys(p *series.Points) error {
	available, err := s.available.ReadIfThere()
	if err != nil || available == nil {
		return err
	}
	current, err := s.current.ReadIfThere()
	if err != nil || current == nil {
		return err
	}
	if n := len(available); len(s.names) != n+len(current) || string(s.names[:n]) != string(available) || string(s.names[n:]) != string(current) {
		s.names = slices.Concat(available, current)
		s.sources = nil
		for state, list := range [][]byte{available, current} {
			for name := range strings.FieldsSeq(string(list)) {
				s.sources = append(s.sources, series.Attributes(otlp.Attr("system.clock.source", name),
					otlp.Attr("system.clock.source.state", []string{"available", "current"}[state])))
			}
		}
	}
	for _, attrs := range s.sources {
		p.Int(clockSource, attrs, 1)
	}
	return nil
}
