package host

import (
	"bytes"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	softnetDropped = iota
	softnetSqueezed
	softnetProcessed
	softnetCollisions
	softnetRPS
	softnetFlowLimit
	softnetBacklog
)

const (
	softnetCPU    = "cpu.logical_number=<int> (with softnet.per_cpu)"
	softnetSource = "/proc/1/net/softnet_stat column "
	softnetAsked  = "host.softnet.detail is on"
)

var softnetMetrics = []series.Metric{
	softnetDropped: {
		Metric: otlp.Metric{Name: "system.network.softnet.packet.dropped", Unit: "{packet}", Instrument: otlp.Counter,
			Description: "Packets dropped because the queue of a CPU (net.core.netdev_max_backlog) was full."},
		Attributes: softnetCPU,
		Source:     softnetSource + "2",
	},
	softnetSqueezed: {
		Metric: otlp.Metric{Name: "system.network.softnet.time_squeeze.count", Unit: "{event}", Instrument: otlp.Counter,
			Description: "Times a CPU stopped receiving with packets left, since its budget or time was used up."},
		Attributes: softnetCPU,
		Source:     softnetSource + "3",
	},
	softnetProcessed: {
		Metric: otlp.Metric{Name: "system.network.softnet.packet.processed", Unit: "{packet}", Instrument: otlp.Counter,
			Description: "Packets that CPUs took from interfaces, whatever became of them."},
		Attributes: softnetCPU,
		Source:     softnetSource + "1",
		When:       softnetAsked,
	},
	softnetCollisions: {
		Metric: otlp.Metric{Name: "system.network.softnet.cpu_collision.count", Unit: "{event}", Instrument: otlp.Counter,
			Description: "Times a CPU found the device locked by another when sending; 0 on current kernels."},
		Attributes: softnetCPU,
		Source:     softnetSource + "9",
		When:       softnetAsked,
	},
	softnetRPS: {
		Metric: otlp.Metric{Name: "system.network.softnet.rps.count", Unit: "{packet}", Instrument: otlp.Counter,
			Description: "Times another CPU woke a CPU to process packets (receive packet steering)."},
		Attributes: softnetCPU,
		Source:     softnetSource + "10",
		When:       softnetAsked,
	},
	softnetFlowLimit: {
		Metric: otlp.Metric{Name: "system.network.softnet.flow_limit.count", Unit: "{event}", Instrument: otlp.Counter,
			Description: "Packets dropped by the limit on large flows."},
		Attributes: softnetCPU,
		Source:     softnetSource + "11",
		When:       softnetAsked,
	},
	softnetBacklog: {
		Metric: otlp.Metric{Name: "system.network.softnet.backlog.size", Unit: "{packet}", Instrument: otlp.Gauge,
			Description: "Packets that wait in the queues of CPUs."},
		Attributes: softnetCPU,
		Source:     softnetSource + "12",
		When:       softnetAsked + " and the kernel tells (5.10 and later)",
	},
}

// Columns of /proc/net/softnet_stat.
const (
	snProcessed  = 0
	snDropped    = 1
	snSqueezed   = 2
	snCollisions = 8
	snRPS        = 9
	snFlowLimit  = 10
	snBacklog    = 11 // a level; since 5.10
	snCPU        = 12 // since 5.10
	snColumns    = 13
)

// softnetColumns are the columns of the metrics.
var softnetColumns = [...]int{softnetDropped: snDropped, softnetSqueezed: snSqueezed, softnetProcessed: snProcessed,
	softnetCollisions: snCollisions, softnetRPS: snRPS, softnetFlowLimit: snFlowLimit, softnetBacklog: snBacklog}

// softnet is the scraper of the kernel's queues of received packets. They are those of the
// CPUs, whatever the network namespace.
type softnet struct {
	cfg  Softnet
	file kernel.File
	cpus map[int]*softnetClock // also those that are offline now: their counts stay in the sum
	list []*softnetClock       // in the order in which they appeared
	rows int                   // of the last scrape
}

// softnetClock is what a CPU has counted.
type softnetClock struct {
	raw   [snColumns]uint64
	n     int // columns
	v     [snColumns]uint64
	there bool // online in this scrape
	attrs []byte
}

func newSoftnet(h *Host, cfg *Config) scraper {
	return &softnet{cfg: cfg.Softnet, file: kernel.NewFile(h.proc + "/" + h.pid + "/net/softnet_stat"), cpus: map[int]*softnetClock{}}
}

func (s *softnet) close() { s.file.Close() }

func (s *softnet) scrape(p *series.Points, _ uint64) error {
	b, err := s.file.Read()
	if err != nil {
		return err
	}
	err = s.update(b)
	last := softnetSqueezed
	if s.cfg.Detail {
		last = softnetBacklog
	}
	for metric := 0; metric <= last && len(s.list) > 0; metric++ {
		column, sum, has := softnetColumns[metric], uint64(0), false
		for _, c := range s.list {
			if column >= c.n || column == snBacklog && !c.there {
				continue
			}
			sum, has = sum+c.v[column], true
			if s.cfg.PerCPU && c.there {
				p.Int(metric, c.attrs, c.v[column])
			}
		}
		if has && !s.cfg.PerCPU {
			p.Int(metric, nil, sum)
		}
	}
	return err
}

// update takes in the file: a row of hexadecimal columns for each CPU that is online.
func (s *softnet) update(b []byte) error {
	for _, c := range s.list {
		c.there = false
	}
	// Where rows have no number, one that is gone makes the others another CPU's.
	same := bytes.Count(b, []byte("\n")) == s.rows
	s.rows = bytes.Count(b, []byte("\n"))
	for row := 0; len(b) > 0; row++ {
		var l []byte
		var v [snColumns]uint64
		l, b = kernel.Line(b)
		n := 0
		for rest := l; n < snColumns; n++ {
			var word []byte
			var ok bool
			if word, rest = kernel.Field(rest); len(word) == 0 {
				break
			}
			if v[n], ok = kernel.Hexadecimal(word); !ok || v[n] > 1<<32-1 {
				return kernel.Malformed("/proc/net/softnet_stat", l)
			}
		}
		if n <= snSqueezed {
			return kernel.Malformed("/proc/net/softnet_stat", l)
		}
		id, named := row, n > snCPU
		if named {
			id = int(v[snCPU])
		}
		c := s.cpus[id]
		if c == nil {
			c = &softnetClock{attrs: series.Attributes(otlp.KeyValue{Key: "cpu.logical_number", Value: otlp.Int(int64(id))})}
			s.cpus[id] = c
			s.list = append(s.list, c)
			c.raw, c.v, c.n, c.there = v, v, n, true
			continue
		}
		c.count(v, n, named || same)
	}
	return nil
}

// count takes in a row. Counters are 32-bit: a step back by more than half the range is a
// wrap, by less a new beginning, which adds to what there was.
func (c *softnetClock) count(v [snColumns]uint64, n int, same bool) {
	for i := range n {
		was, is := c.raw[i], v[i]
		switch {
		case i == snBacklog || i == snCPU:
			c.v[i] = is
		case !same:
		case is >= was:
			c.v[i] += is - was
		case was-is > 1<<31:
			c.v[i] += is + 1<<32 - was
		default:
			c.v[i] += is
		}
	}
	c.raw, c.n, c.there = v, n, true
}
