package host

import (
	"path/filepath"
	"strings"

	"stint/export/otlp"
	"stint/scrape/series"
)

var bcacheMetrics = []series.Metric{{
	Metric: otlp.Metric{Name: "system.bcache.value", Unit: "1", Instrument: otlp.Gauge, Double: true,
		Description: "What bcache tells of a set of caches, and of a device in it, under the kernel's names."},
	Attributes: "system.bcache.uuid=<uuid>; system.bcache.device=<bdevN|cacheN>; system.bcache.field=<name>",
	Source:     "/sys/fs/bcache/<uuid>, internal, bdev*, bdev*/stats_total, cache*",
	When:       "host.bcache is on, and there is one",
}}

var bcachefsMetrics = []series.Metric{{
	Metric: otlp.Metric{Name: "system.bcachefs.value", Unit: "1", Instrument: otlp.Gauge, Double: true,
		Description: "What a bcachefs file system tells of itself, under the kernel's names; counters since it was mounted."},
	Attributes: "system.bcachefs.uuid=<uuid>; system.bcachefs.field=<path>",
	Source:     "/sys/fs/bcachefs/<uuid>, counters, internal, dev-*",
	When:       "host.bcachefs is on, and one is mounted",
}}

// newBcache makes the scraper of sets of caches.
func newBcache(h *Host, _ *Config) scraper {
	class := h.sys + "/fs/bcache"
	return &sysFiles{class: newDirectory(class), list: func() (files []sysFile) {
		for _, uuid := range names(class, "") {
			for _, dir := range below(class+"/"+uuid, "", "internal", "bdev*", "bdev*/stats_total", "cache[0-9]*") {
				part := strings.TrimPrefix(strings.TrimPrefix(dir, class+"/"+uuid), "/")
				kvs := attr("system.bcache.uuid", uuid)
				if device, _, _ := strings.Cut(part, "/"); device != "" && device != "internal" {
					kvs = append(kvs, otlp.Attr("system.bcache.device", device))
				}
				for _, field := range numericFiles(dir) {
					name := field
					if part == "internal" {
						name = "internal/" + field
					}
					files = append(files, newSysFile(0, dir+"/"+field, 1, series.Attributes(append(kvs[:len(kvs):len(kvs)], otlp.Attr("system.bcache.field", name))...)))
				}
			}
		}
		return files
	}}
}

// newBcachefs makes the scraper of bcachefs file systems.
func newBcachefs(h *Host, _ *Config) scraper {
	class := h.sys + "/fs/bcachefs"
	return &sysFiles{class: newDirectory(class), list: func() (files []sysFile) {
		for _, uuid := range names(class, "") {
			for _, dir := range below(class+"/"+uuid, "", "counters", "internal", "dev-*") {
				part := strings.TrimPrefix(strings.TrimPrefix(dir, class+"/"+uuid), "/")
				for _, field := range numericFiles(dir) {
					name := strings.TrimPrefix(part+"/"+field, "/")
					files = append(files, newSysFile(0, dir+"/"+field, 1, series.Attributes(attr("system.bcachefs.uuid", uuid, "system.bcachefs.field", name)...)))
				}
			}
		}
		return files
	}}
}

// below lists the directories that globs match below another one.
func below(dir string, globs ...string) (all []string) {
	for _, g := range globs {
		found, _ := filepath.Glob(filepath.Join(dir, g)) // the globs are right
		all = append(all, found...)
	}
	return all
}
