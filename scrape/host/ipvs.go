package host

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	ipvsConnections = iota
	ipvsPackets
	ipvsIO
	ipvsBackendConnections // from here on with detail
	ipvsBackendWeight
)

const (
	ipvsAsked   = "host.ipvs is on, and IPVS is loaded"
	ipvsBackend = "server.address; server.port; network.peer.address; network.peer.port; network.transport=tcp|udp|sctp"
)

var ipvsMetrics = []series.Metric{
	ipvsConnections: {
		Metric: otlp.Metric{Name: "system.network.ipvs.connection.count", Unit: "{connection}", Instrument: otlp.Counter,
			Description: "Connections that IPVS handled."},
		Source: "/proc/1/net/ip_vs_stats",
		When:   ipvsAsked,
	},
	ipvsPackets: {
		Metric: otlp.Metric{Name: "system.network.ipvs.packet.count", Unit: "{packet}", Instrument: otlp.Counter,
			Description: "Packets that IPVS handled."},
		Attributes: "network.io.direction=receive|transmit",
		Source:     "/proc/1/net/ip_vs_stats",
		When:       ipvsAsked,
	},
	ipvsIO: {
		Metric: otlp.Metric{Name: "system.network.ipvs.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes that IPVS handled."},
		Attributes: "network.io.direction=receive|transmit",
		Source:     "/proc/1/net/ip_vs_stats",
		When:       ipvsAsked,
	},
	ipvsBackendConnections: {
		Metric: otlp.Metric{Name: "system.network.ipvs.backend.connection.count", Unit: "{connection}", Instrument: otlp.UpDown,
			Description: "Connections to a backend (network.peer) of a service (server); of a service that is a mark of the firewall the address is that."},
		Attributes: "system.network.ipvs.state=active|inactive; " + ipvsBackend,
		Source:     "/proc/1/net/ip_vs",
		When:       "host.ipvs.detail is on",
	},
	ipvsBackendWeight: {
		Metric: otlp.Metric{Name: "system.network.ipvs.backend.weight", Unit: "1", Instrument: otlp.Gauge,
			Description: "Share of new connections that a backend gets, in relation to others."},
		Attributes: ipvsBackend,
		Source:     "/proc/1/net/ip_vs",
		When:       "host.ipvs.detail is on",
	},
}

// maxBackends bounds the backends that are reported.
const maxBackends = 10_000

var errManyBackends = fmt.Errorf("/proc/net/ip_vs: more than %d backends; the others are left out", maxBackends)

// ipvs is the scraper of the kernel's load balancer, which kube-proxy may use.
type ipvs struct {
	detail            bool
	stats, services   kernel.File
	backends          table[ipvsDestination]
	key               []byte
	receive, transmit []byte
}

// ipvsDestination is a backend of a service.
type ipvsDestination struct {
	weight, active, inactive          uint64
	attrs, activeAttrs, inactiveAttrs []byte
}

func newIPVS(h *Host, cfg *Config) scraper {
	net := h.proc + "/" + h.pid + "/net/"
	directions := series.Names("network.io.direction", "receive", "transmit")
	return &ipvs{
		detail: cfg.IPVS.Detail, stats: kernel.NewFile(net + "ip_vs_stats"), services: kernel.NewFile(net + "ip_vs"),
		receive: directions[0], transmit: directions[1],
	}
}

func (s *ipvs) close() {
	s.stats.Close()
	s.services.Close()
}

func (s *ipvs) scrape(p *series.Points, _ uint64) error {
	b, err := s.stats.ReadIfThere()
	if err == nil && b != nil {
		v, ok := parseIPVSStats(b)
		if ok {
			p.Int(ipvsConnections, nil, v[0])
			p.Int(ipvsPackets, s.receive, v[1])
			p.Int(ipvsPackets, s.transmit, v[2])
			p.Int(ipvsIO, s.receive, v[3])
			p.Int(ipvsIO, s.transmit, v[4])
		} else {
			err = kernel.Malformed(s.stats.Path, b)
		}
	}
	if !s.detail {
		return err
	}
	b, err2 := s.services.ReadIfThere()
	err = errors.Join(err, err2, s.update(b))
	for _, d := range s.backends.list {
		p.Int(ipvsBackendConnections, d.activeAttrs, d.active)
		p.Int(ipvsBackendConnections, d.inactiveAttrs, d.inactive)
	}
	for _, d := range s.backends.list {
		p.Int(ipvsBackendWeight, d.attrs, d.weight)
	}
	return err
}

// parseIPVSStats reads the third line of ip_vs_stats: connections, packets in and out, bytes in
// and out, in hexadecimal.
func parseIPVSStats(b []byte) (v [5]uint64, ok bool) {
	_, b = kernel.Line(b)
	_, b = kernel.Line(b)
	l, _ := kernel.Line(b)
	for i := range v {
		var word []byte
		word, l = kernel.Field(l)
		if v[i], ok = kernel.Hexadecimal(word); !ok {
			return v, false
		}
	}
	return v, true
}

// update takes in the list of services and, below each, its backends:
//
//	TCP  C0A80016:0CEA wlc
//	  -> C0A85216:0CEA      Tunnel  100    248          2
func (s *ipvs) update(b []byte) (err error) {
	s.backends.begin()
	_, b = kernel.Line(b)
	_, b = kernel.Line(b)
	_, b = kernel.Line(b)
	var protocol, service []byte
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		first, rest := kernel.Field(l)
		second, rest := kernel.Field(rest)
		if string(first) != "->" {
			protocol, service = first, second
			continue
		}
		var v [3]uint64 // weight, active, inactive
		_, rest = kernel.Field(rest)
		if len(service) == 0 || kernel.Numbers(rest, v[:]) < len(v) {
			err = kernel.Malformed(s.services.Path, l)
			continue
		}
		s.key = append(append(append(append(append(s.key[:0], protocol...), ' '), service...), ' '), second...)
		if s.backends.seen >= maxBackends && s.backends.byName[string(s.key)] == nil {
			err = errManyBackends
			continue
		}
		d, fresh := s.backends.get(s.key)
		if fresh {
			d.describe(string(protocol), string(service), string(second))
		}
		d.weight, d.active, d.inactive = v[0], v[1], v[2]
	}
	s.backends.sweep()
	return err
}

func (d *ipvsDestination) describe(protocol, service, backend string) {
	kvs := ipvsEndpoint("server", service)
	kvs = append(kvs, ipvsEndpoint("network.peer", backend)...)
	if protocol != "FWM" {
		kvs = append(kvs, otlp.Attr("network.transport", strings.ToLower(protocol)))
	}
	d.attrs = series.Attributes(kvs...)
	d.activeAttrs = series.Attributes(append([]otlp.KeyValue{otlp.Attr("system.network.ipvs.state", "active")}, kvs...)...)
	d.inactiveAttrs = series.Attributes(append([]otlp.KeyValue{otlp.Attr("system.network.ipvs.state", "inactive")}, kvs...)...)
}

// ipvsEndpoint makes attributes of C0A80016:0CEA, of [2620:0000:…:0001]:0050, or of a mark.
func ipvsEndpoint(prefix, s string) []otlp.KeyValue {
	address, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		address, port = s[:i], s[i+1:]
	}
	if n, err := strconv.ParseUint(address, 16, 32); err == nil && port != "" && len(address) == 8 {
		address = netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}).String()
	} else if ip, err := netip.ParseAddr(strings.Trim(address, "[]")); err == nil {
		address = ip.String()
	}
	kvs := attr(prefix+".address", address)
	if n, ok := kernel.Hexadecimal([]byte(port)); ok && n < 1<<16 {
		kvs = append(kvs, otlp.KeyValue{Key: prefix + ".port", Value: otlp.Int(int64(n))})
	}
	return kvs
}
