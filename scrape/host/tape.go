package host

import (
	"strings"

	"stint/export/otlp"
	"stint/scrape/series"
)

var tapeMetrics = []series.Metric{{
	Metric: otlp.Metric{Name: "system.tape.io", Unit: "By", Instrument: otlp.Counter,
		Description: "Bytes read from and written to tape drives."},
	Attributes: "system.device=<drive>; disk.io.direction=read|write",
	Source:     "/sys/class/scsi_tape/st*/stats/read_byte_cnt, write_byte_cnt",
	When:       "host.tape is on, and there is a drive",
}}

// newTape makes the scraper of tape drives. Each has other names as well: nst0 that does not
// rewind, st0l and others by their density.
func newTape(h *Host, _ *Config) scraper {
	class := h.sys + "/class/scsi_tape"
	return &sysFiles{class: newDirectory(class), list: func() (files []sysFile) {
		for _, drive := range names(class, "st") {
			if strings.Trim(drive[2:], "0123456789") != "" {
				continue
			}
			for _, direction := range []string{"read", "write"} {
				files = append(files, newSysFile(0, class+"/"+drive+"/stats/"+direction+"_byte_cnt", 1,
					series.Attributes(attr("system.device", drive, "disk.io.direction", direction)...)))
			}
		}
		return files
	}}
}
