package host

import (
	"os"
	"slices"
	"strings"
	"time"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

// sysinfo is the part of the system scraper that says what the machine is: what cannot change
// while it runs is read once, SELinux once a minute.
type sysinfo struct {
	h        *Host
	os, dmi  []byte
	read     bool
	selinux  [2]selinuxScope // config, current
	asked    uint64
	watchdog sysFiles
}

// selinuxScope is what the configuration says of SELinux, or the kernel.
type selinuxScope struct {
	mode  int // index into selinuxModes, -1: unknown
	attrs [3][]byte
}

var selinuxModes = [...]string{"disabled", "permissive", "enforcing"}

const selinuxRefresh = uint64(time.Minute)

func newSysinfo(h *Host) *sysinfo {
	s := &sysinfo{h: h}
	for i, scope := range []string{"config", "current"} {
		for j, mode := range selinuxModes {
			s.selinux[i].attrs[j] = series.Attributes(attr("system.selinux.mode", mode, "system.selinux.scope", scope)...)
		}
	}
	class := h.sys + "/class/watchdog"
	s.watchdog = sysFiles{class: newDirectory(class), list: func() (files []sysFile) {
		for _, name := range names(class, "watchdog") {
			for _, field := range []string{"bootstatus", "fw_version", "nowayout", "pretimeout", "timeleft", "timeout", "access_cs0"} {
				if exists(class + "/" + name + "/" + field) {
					files = append(files, newSysFile(systemWatchdog, class+"/"+name+"/"+field, 1,
						series.Attributes(attr("system.watchdog.name", name, "system.watchdog.field", field)...)))
				}
			}
		}
		return files
	}}
	return s
}

func (s *sysinfo) scrape(p *series.Points, now uint64) error {
	if !s.read {
		s.read = true
		s.os = series.Attributes(s.osInfo()...)
		s.dmi = s.dmiInfo()
	}
	if now-s.asked >= selinuxRefresh || now < s.asked {
		s.asked = now
		s.askSELinux()
	}
	p.Int(systemOS, s.os, 1)
	if s.dmi != nil {
		p.Int(systemDMI, s.dmi, 1)
	}
	for i := range s.selinux {
		for j, attrs := range s.selinux[i].attrs {
			if mode := s.selinux[i].mode; mode >= 0 {
				p.Int(systemSELinux, attrs, one(mode == j))
			}
		}
	}
	return s.watchdog.scrape(p, now)
}

// osInfo is what of the resource is of the operating system.
func (s *sysinfo) osInfo() []otlp.KeyValue {
	return slices.DeleteFunc(slices.Clone(s.h.resource), func(kv otlp.KeyValue) bool {
		return !strings.HasPrefix(kv.Key, "os.") && kv.Key != "host.arch" && kv.Key != "system.kernel.release"
	})
}

// dmiInfo is what the firmware says of the machine; nil where there is none.
func (s *sysinfo) dmiInfo() []byte {
	var kvs []otlp.KeyValue
	for _, q := range [][2]string{{"hw.vendor", "sys_vendor"}, {"hw.model", "product_name"}, {"hw.serial_number", "product_serial"}, {"hw.bios_version", "bios_version"}} {
		if v := firstLine(s.h.sys + "/class/dmi/id/" + q[1]); v != "" {
			kvs = append(kvs, otlp.Attr(q[0], v))
		}
	}
	if len(kvs) == 0 {
		return nil
	}
	return series.Attributes(kvs...)
}

// askSELinux reads the mode that is configured and the one that holds. Where there is neither a
// configuration nor the kernel's file system, there is no SELinux to tell of.
func (s *sysinfo) askSELinux() {
	config, current := &s.selinux[0], &s.selinux[1]
	config.mode, current.mode = -1, -1
	b, err := os.ReadFile(s.h.root + "/etc/selinux/config")
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(l), "SELINUX="); ok {
			config.mode = slices.Index(selinuxModes[:], strings.ToLower(strings.TrimSpace(v)))
		}
	}
	enforce := firstLine(s.h.sys + "/fs/selinux/enforce")
	n, _, ok := kernel.Number([]byte(enforce))
	switch {
	case ok:
		current.mode = 1 + int(one(n == 1))
	case err == nil:
		current.mode = 0
	}
}
