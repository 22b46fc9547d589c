package host

import (
	"strconv"
	"strings"
	"time"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

// throttleRefresh is how often the counts of thermal throttling are read: a file for each core.
const throttleRefresh = uint64(time.Minute)

// throttle counts how often a core or package was slowed down because it was too hot. Only
// x86 on bare metal tells.
type throttle struct {
	h       *Host
	small   []byte
	sensors []throttleCount
	online  int // CPUs when they were listed
	askedAt uint64
}

// throttleCount is a file of a CPU. All CPUs of a core, and of a package, have the same count.
type throttleCount struct {
	path  []byte
	attrs []byte
	n     uint64
	has   bool
	start uint64 // 0 = the machine's
}

func newThrottle(h *Host) throttle { return throttle{h: h, small: make([]byte, 64), online: -1} }

// points adds the counts, read anew when they are old or other CPUs are online.
func (s *throttle) points(p *series.Points, online int, now uint64) {
	if online != s.online || now-s.askedAt >= throttleRefresh || now < s.askedAt {
		if online != s.online {
			s.discover()
			s.online = online
		}
		for i := range s.sensors {
			q := &s.sensors[i]
			b, errno := kernel.ReadSmall(q.path, s.small)
			n, _, ok := kernel.Number(b)
			if q.has = errno == 0 && ok; q.has && n < q.n {
				q.start = s.askedAt // the core was taken out and added again
			}
			q.n = n
		}
		s.askedAt = now
	}
	boot := p.Start
	for i := range s.sensors {
		if q := &s.sensors[i]; q.has {
			if p.Start = boot; q.start != 0 {
				p.Start = q.start
			}
			p.Int(cpuThermalThrottle, q.attrs, q.n)
		}
	}
	p.Start = boot
}

// discover lists one CPU of each core and of each package, and keeps what is known of those
// that stay.
func (s *throttle) discover() {
	known := map[string]throttleCount{}
	for _, q := range s.sensors {
		known[string(q.attrs)] = q
	}
	s.sensors = nil
	dir := s.h.sys + "/devices/system/cpu/"
	seen := map[string]bool{}
	for _, cpu := range names(dir, "cpu") {
		if strings.Trim(cpu[len("cpu"):], "0123456789") != "" || !exists(dir+cpu+"/thermal_throttle") {
			continue
		}
		pkg, err := strconv.ParseInt(firstLine(dir+cpu+"/topology/physical_package_id"), 10, 64)
		core, err2 := strconv.ParseInt(firstLine(dir+cpu+"/topology/core_id"), 10, 64)
		if err != nil || err2 != nil { // offline
			continue
		}
		in := otlp.KeyValue{Key: "cpu.package", Value: otlp.Int(pkg)}
		for scope, attrs := range [][]byte{
			series.Attributes(otlp.Attr("cpu.throttle.scope", "core"), in, otlp.KeyValue{Key: "cpu.core", Value: otlp.Int(core)}),
			series.Attributes(otlp.Attr("cpu.throttle.scope", "package"), in),
		} {
			path := dir + cpu + []string{"/thermal_throttle/core_throttle_count", "/thermal_throttle/package_throttle_count"}[scope]
			if seen[string(attrs)] || !exists(path) {
				continue
			}
			seen[string(attrs)] = true
			q := throttleCount{attrs: attrs}
			if k, ok := known[string(attrs)]; ok {
				q = k
			}
			q.path = kernel.CString(path) // of the core's CPUs another may be online now
			s.sensors = append(s.sensors, q)
		}
	}
}
