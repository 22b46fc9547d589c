package host

import (
	"stint/export/otlp"
	"stint/scrape/series"
)

const fabricIO = 0

var fabricMetrics = []series.Metric{
	fabricIO: {
		Metric: otlp.Metric{Name: "system.infiniband.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes received and sent by a port of an InfiniBand or RoCE adapter, past the network interfaces that it may have."},
		Attributes: "system.device=<adapter>; system.port=<number>; network.io.direction=receive|transmit",
		Source:     "/sys/class/infiniband/*/ports/*/counters/port_rcv_data, port_xmit_data",
		When:       "there is such an adapter",
	},
}

// newFabric makes the scraper of InfiniBand ports.
func newFabric(h *Host, _ *Config) scraper {
	class := h.sys + "/class/infiniband"
	list := func() (files []sysFile) {
		for _, device := range names(class, "") {
			ports := class + "/" + device + "/ports"
			for _, port := range names(ports, "") {
				add := func(file, direction string) {
					files = append(files, newSysFile(fabricIO, ports+"/"+port+"/counters/"+file, 4, // words of 4 bytes, by the standard
						series.Attributes(attr("system.device", device, "system.port", port, "network.io.direction", direction)...)))
				}
				add("port_rcv_data", "receive")
				add("port_xmit_data", "transmit")
			}
		}
		return files
	}
	return &sysFiles{class: newDirectory(class), list: list}
}
