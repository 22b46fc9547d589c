package host

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stint/export/otlp"
	"stint/scrape/dedup"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

// extraScraper is the name of the scraper of what node_exporter tells and our metrics do not.
const extraScraper = "node_exporter"

const (
	nodeTime = iota
	nodeFDMaximum
	nodeUname
	nodeSuccess
	nodeDuration
	nodeMeminfo // and one more for each line of /proc/meminfo
)

// NodeExporterMetrics are those of the extra scraper: node_exporter's, whose names they have. For
// each line of /proc/meminfo there is one.
var NodeExporterMetrics = []series.Metric{
	nodeTime: {
		Metric: otlp.Metric{Name: "node_time_seconds", Instrument: otlp.Gauge, Double: true,
			Description: "Time of the scrape, seconds since 1970."},
	},
	nodeFDMaximum: {
		Metric: otlp.Metric{Name: "node_filefd_maximum", Instrument: otlp.Gauge, Double: true,
			Description: "Open files that the kernel allows in all; 9.2e18 stands for no limit."},
		Source: "/proc/sys/fs/file-nr",
	},
	nodeUname: {
		Metric: otlp.Metric{Name: "node_uname_info", Instrument: otlp.Gauge, Double: true,
			Description: "1; the labels are those of uname(2)."},
		Attributes: "domainname; machine; nodename; release; sysname; version",
		Source:     "uname(2)",
	},
	nodeSuccess: {
		Metric: otlp.Metric{Name: "node_scrape_collector_success", Instrument: otlp.Gauge, Double: true,
			Description: "1 when the last scrape of the scraper went well, else 0."},
		Attributes: "collector=<scraper>",
	},
	nodeDuration: {
		Metric: otlp.Metric{Name: "node_scrape_collector_duration_seconds", Instrument: otlp.Gauge, Double: true,
			Description: "How long the last scrape of the scraper took."},
		Attributes: "collector=<scraper>",
	},
	nodeMeminfo: {
		Metric: otlp.Metric{Name: "node_memory_<line>_bytes", Instrument: otlp.Gauge, Double: true,
			Description: "The line of /proc/meminfo; node_memory_<line> where the file gives no unit."},
		Source: "/proc/meminfo",
	},
}

// nodeExporter is the extra scraper. It reads for itself what it shares with others: a file of
// 1 KiB, so that these need not know of it.
type nodeExporter struct {
	h       *Host
	overlap *dedup.Table
	files   struct{ meminfo, fileNR kernel.File }
	table   []series.Metric
	lines   []meminfoLine
	told    []uint64 // by metric: the scrape that last had it
	scrapes uint64
	memory  bool   // the group of that is collected
	uname   []byte // labels
	parts   []nodePart
}

// meminfoLine is a line of /proc/meminfo as of the last scrape. Lines rarely change while the
// kernel runs: a module may add one.
type meminfoLine struct {
	word    []byte // Active(anon):
	metric  int    // -1: there is no room for one
	concept string // where the kubelet knows the same, too
}

// nodePart is a scraper that is told of.
type nodePart struct {
	part  *part
	attrs []byte
}

// maxMeminfo bounds the lines that are told; kernels have 60.
const maxMeminfo = 256

func newNodeExporter(h *Host, cfg *Config, overlap *dedup.Table) *nodeExporter {
	s := &nodeExporter{h: h, overlap: overlap, memory: cfg.Memory.Enabled, table: append([]series.Metric(nil), NodeExporterMetrics[:nodeMeminfo]...)}
	s.told = make([]uint64, len(s.table))
	s.files.meminfo = kernel.NewFile(h.proc + "/meminfo")
	s.files.fileNR = kernel.NewFile(h.proc + "/sys/fs/file-nr")
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		name := unix.ByteSliceToString(u.Nodename[:])
		for _, kv := range h.resource { // uname tells a pod's
			if kv.Key == "host.name" {
				name = kv.Value.Text()
			}
		}
		s.uname = series.Attributes(attr("domainname", unix.ByteSliceToString(u.Domainname[:]), "machine", unix.ByteSliceToString(u.Machine[:]),
			"nodename", name, "release", unix.ByteSliceToString(u.Release[:]), "sysname", unix.ByteSliceToString(u.Sysname[:]),
			"version", unix.ByteSliceToString(u.Version[:]))...)
	}
	return s
}

// tell makes the scraper tell how the others did. They are complete.
func (s *nodeExporter) tell(parts []part) {
	for i := range parts {
		if parts[i].name != extraScraper {
			s.parts = append(s.parts, nodePart{&parts[i], series.Attributes(otlp.Attr("collector", parts[i].name))})
		}
	}
}

func (s *nodeExporter) close() {
	s.files.meminfo.Close()
	s.files.fileNR.Close()
}

func (s *nodeExporter) scrape(p *series.Points, now uint64) error {
	p.Float(nodeTime, nil, float64(now)/1e9)
	err := s.fromFileNR(p)
	if s.uname != nil {
		p.Float(nodeUname, s.uname, 1)
	}
	for i := range s.parts {
		if q := &s.parts[i]; q.part.scraped.Load() != 0 {
			success := 1.0
			if q.part.failed.Load() {
				success = 0
			}
			p.Float(nodeSuccess, q.attrs, success)
		}
	}
	for i := range s.parts {
		if q := &s.parts[i]; q.part.scraped.Load() != 0 {
			p.Float(nodeDuration, q.attrs, time.Duration(q.part.scraped.Load()).Seconds())
		}
	}
	return errors.Join(err, s.fromMeminfo(p))
}

func (s *nodeExporter) fromFileNR(p *series.Points) error {
	b, err := s.files.fileNR.Read()
	if err != nil {
		return err
	}
	var v [3]uint64
	if kernel.Numbers(b, v[:]) != len(v) {
		return kernel.Malformed(s.files.fileNR.Path, b)
	}
	p.Float(nodeFDMaximum, nil, float64(min(v[2], math.MaxInt64)))
	return nil
}

// fromMeminfo adds a point for each line, but those that another source has.
func (s *nodeExporter) fromMeminfo(p *series.Points) error {
	if !s.memory {
		return nil
	}
	b, err := s.files.meminfo.Read()
	if err != nil {
		return err
	}
	s.scrapes++
	for i := 0; len(b) > 0 && i < maxMeminfo; i++ {
		var l []byte
		l, b = kernel.Line(b)
		word, rest := kernel.Field(l)
		v, rest, ok := kernel.Number(rest)
		if !ok || v > 1<<53 { // 2^53 KiB are more than any machine has
			return kernel.Malformed(s.files.meminfo.Path, l)
		}
		unit, _ := kernel.Field(rest)
		if i == len(s.lines) {
			s.lines = append(s.lines, meminfoLine{})
		}
		q := &s.lines[i]
		if !bytes.Equal(q.word, word) {
			*q = s.meminfoLine(word, string(unit) == "kB")
		}
		if string(unit) == "kB" {
			v *= 1024
		}
		if q.metric < 0 || s.told[q.metric] == s.scrapes {
			continue // a line that is there twice counts once
		}
		s.told[q.metric] = s.scrapes
		if q.concept == "" || !s.overlap.Lost("host", dedup.Key{Kind: dedup.Node, Concept: q.concept}) {
			p.Table = s.table
			p.Float(q.metric, nil, float64(v))
		}
	}
	return nil
}

// meminfoLine finds the metric of a line, or makes it: Active(anon) is node_memory_Active_anon_bytes.
func (s *nodeExporter) meminfoLine(word []byte, bytes bool) meminfoLine {
	name := "node_memory_" + strings.NewReplacer("(", "_", ")", "").Replace(strings.TrimSuffix(string(word), ":"))
	if bytes {
		name += "_bytes"
	}
	q := meminfoLine{word: append([]byte(nil), word...)}
	q.metric = slices.IndexFunc(s.table, func(m series.Metric) bool { return m.Name == name })
	if q.metric < 0 && len(s.table) < nodeMeminfo+maxMeminfo {
		q.metric = len(s.table)
		m := NodeExporterMetrics[nodeMeminfo]
		m.Name = name
		s.table, s.told = append(s.table, m), append(s.told, 0)
	}
	for _, r := range PrometheusRules {
		if r.Name == name && dedup.HasTwin(r.From) {
			q.concept = r.From
		}
	}
	return q
}
