package host

import (
	"errors"

	"stint/export/otlp"
	"stint/scrape/series"
)

const (
	fabricIO = iota
	fabricInfiniband
	fabricFibreChannel
)

var fabricMetrics = []series.Metric{
	fabricIO: {
		Metric: otlp.Metric{Name: "system.infiniband.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes received and sent by a port of an InfiniBand or RoCE adapter, past the network interfaces that it may have."},
		Attributes: "system.device=<adapter>; system.port=<number>; network.io.direction=receive|transmit",
		Source:     "/sys/class/infiniband/*/ports/*/counters/port_rcv_data, port_xmit_data",
		When:       "there is such an adapter",
	},
	fabricInfiniband: {
		Metric: otlp.Metric{Name: "system.infiniband.counter", Unit: "1", Instrument: otlp.Counter,
			Description: "Other counters of a port of an InfiniBand or RoCE adapter, under the driver's names."},
		Attributes: "system.device=<adapter>; system.port=<number>; system.infiniband.field=<counter>",
		Source:     "/sys/class/infiniband/*/ports/*/counters, hw_counters",
		When:       "host.fabric.detail is on and there is such an adapter",
	},
	fabricFibreChannel: {
		Metric: otlp.Metric{Name: "system.fibrechannel.counter", Unit: "1", Instrument: otlp.Counter,
			Description: "Counters of a Fibre Channel host adapter, under the driver's names."},
		Attributes: "system.device=<adapter>; system.fibrechannel.field=<counter>",
		Source:     "/sys/class/fc_host/*/statistics",
		When:       "host.fabric.detail is on and there is such an adapter",
	},
}

// several are classes of devices that are one scraper.
type several []*sysFiles

func (s several) close() {
	for _, c := range s {
		c.close()
	}
}

func (s several) scrape(p *series.Points, now uint64) (err error) {
	for _, c := range s {
		err = errors.Join(err, c.scrape(p, now))
	}
	return err
}

// newFabric makes the scraper of InfiniBand ports and Fibre Channel adapters.
func newFabric(h *Host, cfg *Config) scraper {
	detail := cfg.Fabric.Detail
	class := h.sys + "/class/infiniband"
	infiniband := func() (files, others []sysFile) {
		for _, device := range names(class, "") {
			ports := class + "/" + device + "/ports"
			for _, port := range names(ports, "") {
				add := func(file, direction string) {
					files = append(files, newSysFile(fabricIO, ports+"/"+port+"/counters/"+file, 4, // words of 4 bytes, by the standard
						series.Attributes(attr("system.device", device, "system.port", port, "network.io.direction", direction)...)))
				}
				add("port_rcv_data", "receive")
				add("port_xmit_data", "transmit")
				for _, dir := range []string{"/counters/", "/hw_counters/"} {
					if !detail {
						break
					}
					for _, field := range numericFiles(ports + "/" + port + dir) {
						if field != "port_rcv_data" && field != "port_xmit_data" && field != "lifespan" { // which is a setting
							others = append(others, newSysFile(fabricInfiniband, ports+"/"+port+dir+field, 1,
								series.Attributes(attr("system.device", device, "system.port", port, "system.infiniband.field", field)...)))
						}
					}
				}
			}
		}
		return files, others
	}
	all := several{{class: newDirectory(class), list: func() []sysFile { files, others := infiniband(); return append(files, others...) }}}
	if !detail {
		return all
	}
	hosts := h.sys + "/class/fc_host"
	return append(all, &sysFiles{class: newDirectory(hosts), list: func() (files []sysFile) {
		for _, host := range names(hosts, "") {
			for _, field := range numericFiles(hosts + "/" + host + "/statistics") {
				files = append(files, newSysFile(fabricFibreChannel, hosts+"/"+host+"/statistics/"+field, 1,
					series.Attributes(attr("system.device", host, "system.fibrechannel.field", field)...)))
			}
		}
		return files
	}})
}
