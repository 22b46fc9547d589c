package host

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	cpuTopologyAsked  = "host.cpu.topology is on"
	cpuFrequencyAsked = "host.cpu.frequency is on"
)

// frequencyRefresh is how often the bounds and the governor of frequencies are read.
const frequencyRefresh = uint64(time.Minute)

// topology tells of the CPUs as parts of the machine. They are listed when another number of
// them is online.
type topology struct {
	h        *Host
	cfg      CPU
	small    []byte
	cpuinfo  kernel.File
	online   kernel.File
	isolated kernel.File
	listed   int // how many were online then
	askedAt  uint64

	cpus           []logicalCPU
	cores, sockets uint64
	hasCores       bool
	models         [][]byte // attributes of system.cpu.info
}

// logicalCPU is a directory cpuN.
type logicalCPU struct {
	id       int
	attrs    []byte
	online   bool
	isolated bool

	current    []byte // paths
	limits     [2][]byte
	governor   []byte
	limitAttrs [2][]byte
	hz         uint64 // now; 0 = unknown
	limit      [2]uint64
	ruled      []byte // the governor's name
	ruledAttrs []byte
}

func newTopology(h *Host, cfg CPU) topology {
	dir := h.sys + "/devices/system/cpu/"
	return topology{
		h: h, cfg: cfg, small: make([]byte, 64), listed: -1,
		cpuinfo: kernel.NewFile(h.proc + "/cpuinfo"), online: kernel.NewFile(dir + "online"), isolated: kernel.NewFile(dir + "isolated"),
	}
}

func (s *topology) close() {
	s.cpuinfo.Close()
	s.online.Close()
	s.isolated.Close()
}

func (s *topology) scrape(p *series.Points, online int, now uint64) error {
	if !s.cfg.Topology && !s.cfg.Frequency {
		return nil
	}
	fresh := online != s.listed
	if fresh {
		s.discover()
		s.listed = online
	}
	var err error
	if s.cfg.Topology {
		err = errors.Join(s.ranges(&s.online, func(c *logicalCPU) *bool { return &c.online }),
			s.ranges(&s.isolated, func(c *logicalCPU) *bool { return &c.isolated }))
		s.counts(p)
	}
	if s.cfg.Frequency {
		if fresh || now-s.askedAt >= frequencyRefresh || now < s.askedAt {
			s.bounds()
			s.askedAt = now
		}
		err = errors.Join(err, s.frequencies(p))
	}
	return err
}

// discover lists the CPUs.
func (s *topology) discover() {
	s.cpus = nil
	dir := s.h.sys + "/devices/system/cpu/"
	cores, sockets := map[[2]string]bool{}, map[string]bool{}
	for _, name := range names(dir, "cpu") {
		id, err := strconv.Atoi(strings.TrimPrefix(name, "cpu"))
		if err != nil {
			continue
		}
		number := logicalNumber(id)
		c := logicalCPU{id: id, attrs: series.Attributes(number)}
		freq := dir + name + "/cpufreq/"
		c.current, c.governor = kernel.CString(freq+"scaling_cur_freq"), kernel.CString(freq+"scaling_governor")
		for i, limit := range []string{"min", "max"} {
			c.limits[i] = kernel.CString(freq + "scaling_" + limit + "_freq")
			c.limitAttrs[i] = series.Attributes(number, otlp.Attr("hw.limit_type", limit))
		}
		s.cpus = append(s.cpus, c)
		socket, core := firstLine(dir+name+"/topology/physical_package_id"), firstLine(dir+name+"/topology/core_id")
		if socket != "" && core != "" { // an offline CPU has no topology
			cores[[2]string{socket, core}], sockets[socket] = true, true
		}
	}
	s.models = cpuModels(s.cpuinfo.Path)
	s.cores, s.sockets, s.hasCores = uint64(len(cores)), uint64(len(sockets)), len(cores) > 0
}

// ranges sets what the CPUs in a list such as "0-3,8" have.
func (s *topology) ranges(f *kernel.File, of func(*logicalCPU) *bool) error {
	b, err := f.ReadIfThere()
	if err != nil {
		return err
	}
	for i := range s.cpus {
		*of(&s.cpus[i]) = false
	}
	list, _ := kernel.Field(b)
	for len(list) > 0 {
		var part []byte
		part, list, _ = bytes.Cut(list, []byte(","))
		from, to, span := bytes.Cut(part, []byte("-"))
		first, _, ok := kernel.Number(from)
		last := first
		if span && ok {
			last, _, ok = kernel.Number(to)
		}
		if !ok {
			return kernel.Malformed(f.Path, b)
		}
		for i := range s.cpus {
			if id := uint64(s.cpus[i].id); id >= first && id <= last {
				*of(&s.cpus[i]) = true
			}
		}
	}
	return nil
}

// cpuModels are the attributes of each kind of CPU in /proc/cpuinfo; most machines have one.
func cpuModels(path string) (all [][]byte) {
	b, _ := os.ReadFile(path) // which need not be there
	seen := map[string]bool{}
	for block := range strings.SplitSeq(string(b), "\n\n") {
		var kvs []otlp.KeyValue
		for l := range strings.Lines(block) {
			key, value, _ := strings.Cut(l, ":")
			if name := cpuModelAttributes[strings.TrimSpace(key)]; name != "" {
				kvs = append(kvs, otlp.Attr(name, strings.TrimSpace(value)))
			}
		}
		if attrs := series.Attributes(kvs...); len(kvs) > 0 && !seen[string(attrs)] {
			seen[string(attrs)] = true
			all = append(all, attrs)
		}
	}
	return all
}

var cpuModelAttributes = map[string]string{
	"vendor_id": "host.cpu.vendor.id", "cpu family": "host.cpu.family", "model": "host.cpu.model.id", "model name": "host.cpu.model.name",
	"stepping": "host.cpu.stepping", "microcode": "cpu.microcode",
	"CPU implementer": "host.cpu.vendor.id", "CPU architecture": "host.cpu.family", "CPU part": "host.cpu.model.id", "CPU revision": "host.cpu.stepping", // arm64
}

func (s *topology) counts(p *series.Points) {
	if s.hasCores {
		p.Int(cpuPhysicalCount, nil, s.cores)
		p.Int(cpuSocketCount, nil, s.sockets)
	}
	for i := range s.cpus {
		on := uint64(0)
		if s.cpus[i].online {
			on = 1
		}
		p.Int(cpuOnline, s.cpus[i].attrs, on)
	}
	for i := range s.cpus {
		if s.cpus[i].isolated {
			p.Int(cpuIsolated, s.cpus[i].attrs, 1)
		}
	}
	for _, attrs := range s.models {
		p.Int(cpuInfo, attrs, 1)
	}
}

// bounds reads what seldom changes of frequencies.
func (s *topology) bounds() {
	for i := range s.cpus {
		c := &s.cpus[i]
		for j := range c.limits {
			c.limit[j] = s.khz(c.limits[j])
		}
		b, _ := kernel.ReadSmall(c.governor, s.small) // of a CPU whose frequency cannot be set there is none
		if name, _ := kernel.Field(b); !bytes.Equal(name, c.ruled) {
			c.ruled = bytes.Clone(name)
			c.ruledAttrs = series.Attributes(logicalNumber(c.id), otlp.Attr("cpu.scaling_governor", string(name)))
		}
	}
}

// khz reads a frequency; it is 0 if there is none.
func (s *topology) khz(path []byte) (hz uint64) {
	b, errno := kernel.ReadSmall(path, s.small)
	if n, _, ok := kernel.Number(b); errno == 0 && ok && n < 1<<32 {
		return n * 1000
	}
	return 0
}

func (s *topology) frequencies(p *series.Points) (err error) {
	known := false
	for i := range s.cpus {
		s.cpus[i].hz = s.khz(s.cpus[i].current)
		known = known || s.cpus[i].hz > 0
	}
	if !known {
		err = s.fromCPUInfo()
	}
	for i := range s.cpus {
		if c := &s.cpus[i]; c.hz > 0 {
			p.Int(cpuFrequency, c.attrs, c.hz)
		}
	}
	for i := range s.cpus {
		for j, hz := range s.cpus[i].limit {
			if hz > 0 {
				p.Int(cpuFrequencyLimit, s.cpus[i].limitAttrs[j], hz)
			}
		}
	}
	for i := range s.cpus {
		if c := &s.cpus[i]; len(c.ruled) > 0 {
			p.Int(cpuGovernor, c.ruledAttrs, 1)
		}
	}
	return err
}

// fromCPUInfo takes frequencies from lines such as "cpu MHz : 2445.406" behind "processor : 0".
func (s *topology) fromCPUInfo() error {
	b, err := s.cpuinfo.Read()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	at := -1
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		key, value, _ := bytes.Cut(l, []byte(":"))
		switch string(bytes.TrimRight(key, " \t")) {
		case "processor":
			id, _, ok := kernel.Number(value)
			at = -1
			for i := range s.cpus {
				if ok && uint64(s.cpus[i].id) == id {
					at = i
				}
			}
		case "cpu MHz":
			mhz, _, ok := kernel.Decimal(value)
			if !ok {
				return kernel.Malformed(s.cpuinfo.Path, l)
			}
			if at >= 0 {
				s.cpus[at].hz = uint64(mhz * 1e6)
			}
		}
	}
	return err
}
