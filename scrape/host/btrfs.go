package host

import (
	"stint/export/otlp"
	"stint/scrape/series"
)

const btrfsAllocation = 0

var btrfsMetrics = []series.Metric{
	btrfsAllocation: {
		Metric: otlp.Metric{Name: "system.btrfs.allocation", Unit: "By", Instrument: otlp.UpDown,
			Description: "Space that a btrfs file system allocated to each kind of block group (size), and what of it is used or reserved; global_reserve is a part of the metadata's."},
		Attributes: "system.btrfs.uuid=<uuid>; system.btrfs.block_group=data|metadata|system; system.btrfs.state=size|used|reserved|global_reserve",
		Source:     "/sys/fs/btrfs/<uuid>/allocation",
		When:       "a btrfs file system is mounted",
	},
}

// newBtrfs makes the scraper of btrfs file systems.
func newBtrfs(h *Host, _ *Config) scraper {
	dir := h.sys + "/fs/btrfs"
	list := func() (files []sysFile) {
		for _, uuid := range names(dir, "") {
			allocation := dir + "/" + uuid + "/allocation"
			if !exists(allocation) { // features, debug
				continue
			}
			add := func(file, group, state string) {
				files = append(files, newSysFile(btrfsAllocation, allocation+file, 1,
					series.Attributes(attr("system.btrfs.uuid", uuid, "system.btrfs.block_group", group, "system.btrfs.state", state)...)))
			}
			for _, group := range []string{"data", "metadata", "system"} {
				add("/"+group+"/total_bytes", group, "size")
				add("/"+group+"/bytes_used", group, "used")
				add("/"+group+"/bytes_reserved", group, "reserved")
			}
			add("/global_rsv_size", "metadata", "global_reserve")
		}
		return files
	}
	return &sysFiles{class: newDirectory(dir), list: list}
}
