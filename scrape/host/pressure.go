package host

import (
	"errors"

	"golang.org/x/sys/unix"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	pressureCPU = iota
	pressureMemory
	pressureIO
	pressureIRQ
	pressureCPUAverage
	pressureMemoryAverage
	pressureIOAverage
	pressureIRQAverage
)

const (
	pressureKinds   = "psi.type=some|full"
	pressureWindows = pressureKinds + "; psi.window=10s|60s|300s"
	pressureAsked   = "host.pressure.averages is on and the kernel counts pressure"
)

var pressureMetrics = []series.Metric{
	pressureCPU: {
		Metric: otlp.Metric{Name: "system.cpu.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some task waited for a CPU. That all wait at once is not defined for the machine as a whole."},
		Attributes: "psi.type=some",
		Source:     "/proc/pressure/cpu total",
		When:       "the kernel counts pressure",
	},
	pressureMemory: {
		Metric: otlp.Metric{Name: "system.memory.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some or all tasks waited for memory."},
		Attributes: pressureKinds,
		Source:     "/proc/pressure/memory total",
		When:       "the kernel counts pressure",
	},
	pressureIO: {
		Metric: otlp.Metric{Name: "system.io.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which some or all tasks waited for I/O."},
		Attributes: pressureKinds,
		Source:     "/proc/pressure/io total",
		When:       "the kernel counts pressure",
	},
	pressureIRQ: {
		Metric: otlp.Metric{Name: "system.irq.pressure.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which interrupts kept all tasks of a CPU from running."},
		Attributes: "psi.type=full",
		Source:     "/proc/pressure/irq total",
		When:       "the kernel counts pressure by interrupts (6.1 and later)",
	},
	pressureCPUAverage: {
		Metric: otlp.Metric{Name: "system.cpu.pressure.avg", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Share of the last 10, 60 and 300 s in which some task waited for a CPU, 0 to 1."},
		Attributes: pressureWindows,
		Source:     "/proc/pressure/cpu avg10, avg60, avg300",
		When:       pressureAsked,
	},
	pressureMemoryAverage: {
		Metric: otlp.Metric{Name: "system.memory.pressure.avg", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Share of the last 10, 60 and 300 s in which some or all tasks waited for memory, 0 to 1."},
		Attributes: pressureWindows,
		Source:     "/proc/pressure/memory avg10, avg60, avg300",
		When:       pressureAsked,
	},
	pressureIOAverage: {
		Metric: otlp.Metric{Name: "system.io.pressure.avg", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Share of the last 10, 60 and 300 s in which some or all tasks waited for I/O, 0 to 1."},
		Attributes: pressureWindows,
		Source:     "/proc/pressure/io avg10, avg60, avg300",
		When:       pressureAsked,
	},
	pressureIRQAverage: {
		Metric: otlp.Metric{Name: "system.irq.pressure.avg", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Share of the last 10, 60 and 300 s in which interrupts kept all tasks of a CPU from running, 0 to 1."},
		Attributes: pressureWindows,
		Source:     "/proc/pressure/irq avg10, avg60, avg300",
		When:       pressureAsked,
	},
}

// pressure is the scraper of pressure stall information (Documentation/accounting/psi.rst).
type pressure struct {
	files    [pressureIRQ + 1]pressureFile // by metric of their totals
	averages bool

	kinds   [psiKinds][]byte
	windows [psiKinds][psiWindows][]byte
}

type pressureFile struct {
	kernel.File
	psi
	off bool // switched off when the machine booted (psi=0): there is a file, but it cannot be read
}

func newPressure(h *Host, cfg *Config) scraper {
	s := &pressure{averages: cfg.Pressure.Averages}
	for i, name := range []string{"cpu", "memory", "io", "irq"} {
		s.files[i].File = kernel.NewFile(h.proc + "/pressure/" + name)
	}
	for kind, word := range []string{psiSome: "some", psiFull: "full"} {
		t := otlp.Attr("psi.type", word)
		s.kinds[kind] = series.Attributes(t)
		for w, length := range []string{"10s", "60s", "300s"} {
			s.windows[kind][w] = series.Attributes(t, otlp.Attr("psi.window", length))
		}
	}
	return s
}

func (s *pressure) close() {
	for i := range s.files {
		s.files[i].Close()
	}
}

func (s *pressure) scrape(p *series.Points, _ uint64) (err error) {
	for i := range s.files {
		f := &s.files[i]
		f.has = [psiKinds]bool{}
		if f.off {
			continue
		}
		b, err1 := f.ReadIfThere()
		if errors.Is(err1, unix.EOPNOTSUPP) {
			f.off = true
			continue
		}
		if err1 == nil {
			err1 = parsePSI(&f.psi, f.Path, b)
		}
		if err1 != nil {
			err = errors.Join(err, err1)
		}
		if i == pressureCPU {
			f.has[psiFull] = false // 0 for the machine as a whole since 5.13, nonsense before
		}
		for kind := range f.has {
			if f.has[kind] {
				p.Float(pressureCPU+i, s.kinds[kind], float64(f.total[kind])/1e6)
			}
		}
	}
	for i := range s.files {
		f := &s.files[i]
		for kind := range f.has {
			for w := 0; s.averages && f.has[kind] && w < psiWindows; w++ {
				p.Float(pressureCPUAverage+i, s.windows[kind][w], f.avg[kind][w]/100)
			}
		}
	}
	return err
}
