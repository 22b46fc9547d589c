package host

import (
	"errors"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	netstatSegments = iota
	netstatRetransmitted
	netstatOpened
	netstatTCPErrors
	netstatResets
	netstatListenOverflows
	netstatListenDrops
	netstatTimeouts
	netstatDatagrams
	netstatUDPErrors
	netstatEstablished
	netstatSynRetransmitted // from here on with detail
	netstatOutOfOrder
	netstatReceiveQueueDrops
	netstatSyncookies
	netstatUDPLiteErrors
	netstatICMPMessages
	netstatICMPErrors
	netstatIPIO
	netstatForwarding
	netstatCounters
)

const (
	netstatDirection = "network.io.direction=receive|transmit"
	netstatFamily    = "network.type=ipv4|ipv6"
	netstatAsked     = "host.netstat.detail is on"
)

var netstatMetrics = []series.Metric{
	netstatSegments: {
		Metric: otlp.Metric{Name: "system.network.tcp.segment.count", Unit: "{segment}", Instrument: otlp.Counter,
			Description: "TCP segments received and sent, without those sent again."},
		Attributes: netstatDirection,
		Source:     "/proc/1/net/snmp Tcp InSegs, OutSegs",
	},
	netstatRetransmitted: {
		Metric: otlp.Metric{Name: "system.network.tcp.segment.retransmitted", Unit: "{segment}", Instrument: otlp.Counter,
			Description: "TCP segments sent again."},
		Source: "/proc/1/net/snmp Tcp RetransSegs",
	},
	netstatOpened: {
		Metric: otlp.Metric{Name: "system.network.tcp.connection.opened", Unit: "{connection}", Instrument: otlp.Counter,
			Description: "TCP connections opened from here (active) and from elsewhere (passive)."},
		Attributes: "system.network.tcp.open=active|passive",
		Source:     "/proc/1/net/snmp Tcp ActiveOpens, PassiveOpens",
	},
	netstatTCPErrors: {
		Metric: otlp.Metric{Name: "system.network.tcp.errors", Unit: "{error}", Instrument: otlp.Counter,
			Description: "TCP segments received in error."},
		Source: "/proc/1/net/snmp Tcp InErrs",
	},
	netstatResets: {
		Metric: otlp.Metric{Name: "system.network.tcp.reset.transmitted", Unit: "{segment}", Instrument: otlp.Counter,
			Description: "TCP resets sent."},
		Source: "/proc/1/net/snmp Tcp OutRsts",
	},
	netstatListenOverflows: {
		Metric: otlp.Metric{Name: "system.network.tcp.listen.overflow", Unit: "{connection}", Instrument: otlp.Counter,
			Description: "TCP connections refused because the queue of a listening socket was full."},
		Source: "/proc/1/net/netstat TcpExt ListenOverflows",
	},
	netstatListenDrops: {
		Metric: otlp.Metric{Name: "system.network.tcp.listen.dropped", Unit: "{connection}", Instrument: otlp.Counter,
			Description: "TCP connections that a listening socket dropped for any reason, overflows included."},
		Source: "/proc/1/net/netstat TcpExt ListenDrops",
	},
	netstatTimeouts: {
		Metric: otlp.Metric{Name: "system.network.tcp.timeout.count", Unit: "{timeout}", Instrument: otlp.Counter,
			Description: "TCP retransmission timeouts."},
		Source: "/proc/1/net/netstat TcpExt TCPTimeouts",
	},
	netstatDatagrams: {
		Metric: otlp.Metric{Name: "system.network.udp.datagram.count", Unit: "{datagram}", Instrument: otlp.Counter,
			Description: "UDP datagrams delivered to programs and sent."},
		Attributes: netstatDirection + "; " + netstatFamily,
		Source:     "/proc/1/net/snmp Udp, /proc/1/net/snmp6 Udp6: InDatagrams, OutDatagrams",
	},
	netstatUDPErrors: {
		Metric: otlp.Metric{Name: "system.network.udp.errors", Unit: "{error}", Instrument: otlp.Counter,
			Description: "UDP datagrams lost; the kernel counts those of a full receive buffer as in_errors, too."},
		Attributes: "error.type=in_errors|no_ports|receive_buffer|send_buffer; " + netstatFamily,
		Source:     "/proc/1/net/snmp Udp, /proc/1/net/snmp6 Udp6: InErrors, NoPorts, RcvbufErrors, SndbufErrors",
	},
	netstatEstablished: {
		Metric: otlp.Metric{Name: "system.network.tcp.connection.established", Unit: "{connection}", Instrument: otlp.UpDown,
			Description: "TCP connections in the states ESTABLISHED and CLOSE_WAIT."},
		Source: "/proc/1/net/snmp Tcp CurrEstab",
	},
	netstatSynRetransmitted: {
		Metric: otlp.Metric{Name: "system.network.tcp.syn.retransmitted", Unit: "{segment}", Instrument: otlp.Counter,
			Description: "TCP SYN and SYN/ACK segments sent again."},
		Source: "/proc/1/net/netstat TcpExt TCPSynRetrans",
		When:   netstatAsked,
	},
	netstatOutOfOrder: {
		Metric: otlp.Metric{Name: "system.network.tcp.out_of_order.count", Unit: "{segment}", Instrument: otlp.Counter,
			Description: "TCP segments that came out of order and were kept."},
		Source: "/proc/1/net/netstat TcpExt TCPOFOQueue",
		When:   netstatAsked,
	},
	netstatReceiveQueueDrops: {
		Metric: otlp.Metric{Name: "system.network.tcp.receive_queue.dropped", Unit: "{segment}", Instrument: otlp.Counter,
			Description: "TCP segments dropped because the receive buffer of their socket was full."},
		Source: "/proc/1/net/netstat TcpExt TCPRcvQDrop",
		When:   netstatAsked,
	},
	netstatSyncookies: {
		Metric: otlp.Metric{Name: "system.network.tcp.syncookie.count", Unit: "{cookie}", Instrument: otlp.Counter,
			Description: "TCP SYN cookies sent, received and found invalid."},
		Attributes: "system.network.tcp.syncookie=sent|received|failed",
		Source:     "/proc/1/net/netstat TcpExt SyncookiesSent, SyncookiesRecv, SyncookiesFailed",
		When:       netstatAsked,
	},
	netstatUDPLiteErrors: {
		Metric: otlp.Metric{Name: "system.network.udplite.errors", Unit: "{error}", Instrument: otlp.Counter,
			Description: "UDP-Lite datagrams received in error."},
		Attributes: netstatFamily,
		Source:     "/proc/1/net/snmp UdpLite, /proc/1/net/snmp6 UdpLite6: InErrors",
		When:       netstatAsked + " and the kernel has UDP-Lite",
	},
	netstatICMPMessages: {
		Metric: otlp.Metric{Name: "system.network.icmp.message.count", Unit: "{message}", Instrument: otlp.Counter,
			Description: "ICMP messages received and sent."},
		Attributes: netstatDirection + "; " + netstatFamily,
		Source:     "/proc/1/net/snmp Icmp, /proc/1/net/snmp6 Icmp6: InMsgs, OutMsgs",
		When:       netstatAsked,
	},
	netstatICMPErrors: {
		Metric: otlp.Metric{Name: "system.network.icmp.errors", Unit: "{error}", Instrument: otlp.Counter,
			Description: "ICMP messages received in error."},
		Attributes: netstatFamily,
		Source:     "/proc/1/net/snmp Icmp, /proc/1/net/snmp6 Icmp6: InErrors",
		When:       netstatAsked,
	},
	netstatIPIO: {
		Metric: otlp.Metric{Name: "system.network.ip.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes of IP packets received and sent, headers included."},
		Attributes: netstatDirection + "; " + netstatFamily,
		Source:     "/proc/1/net/netstat IpExt InOctets, OutOctets, /proc/1/net/snmp6 Ip6InOctets, Ip6OutOctets",
		When:       netstatAsked,
	},
	netstatForwarding: {
		Metric: otlp.Metric{Name: "system.network.ip.forwarding", Unit: "1", Instrument: otlp.UpDown,
			Description: "1 when the machine forwards IPv4 packets, else 0."},
		Source: "/proc/1/net/snmp Ip Forwarding",
		When:   netstatAsked,
	},
	netstatCounters: {
		Metric: otlp.Metric{Name: "system.network.netstat.counter", Unit: "1", Instrument: otlp.Counter,
			Description: "Other counters of network protocols, under the kernel's names."},
		Attributes: "linux.netstat.field=<protocol>_<name>",
		Source:     "/proc/1/net/snmp, /proc/1/net/netstat, /proc/1/net/snmp6",
		When:       "host.netstat.counters names the field",
	},
}

// netstatPoints are the points of the scraper, in the order of the metrics, and the names that
// their values have in the files; those in snmp6 are without a dot.
var netstatPoints = []struct {
	metric int
	name   string
	attrs  []otlp.KeyValue
}{
	{netstatSegments, "Tcp.InSegs", attr("network.io.direction", "receive")},
	{netstatSegments, "Tcp.OutSegs", attr("network.io.direction", "transmit")},
	{netstatRetransmitted, "Tcp.RetransSegs", nil},
	{netstatOpened, "Tcp.ActiveOpens", attr("system.network.tcp.open", "active")},
	{netstatOpened, "Tcp.PassiveOpens", attr("system.network.tcp.open", "passive")},
	{netstatTCPErrors, "Tcp.InErrs", nil},
	{netstatResets, "Tcp.OutRsts", nil},
	{netstatListenOverflows, "TcpExt.ListenOverflows", nil},
	{netstatListenDrops, "TcpExt.ListenDrops", nil},
	{netstatTimeouts, "TcpExt.TCPTimeouts", nil},
	{netstatDatagrams, "Udp.InDatagrams", attr("network.io.direction", "receive", "network.type", "ipv4")},
	{netstatDatagrams, "Udp.OutDatagrams", attr("network.io.direction", "transmit", "network.type", "ipv4")},
	{netstatDatagrams, "Udp6InDatagrams", attr("network.io.direction", "receive", "network.type", "ipv6")},
	{netstatDatagrams, "Udp6OutDatagrams", attr("network.io.direction", "transmit", "network.type", "ipv6")},
	{netstatUDPErrors, "Udp.InErrors", attr("error.type", "in_errors", "network.type", "ipv4")},
	{netstatUDPErrors, "Udp.NoPorts", attr("error.type", "no_ports", "network.type", "ipv4")},
	{netstatUDPErrors, "Udp.RcvbufErrors", attr("error.type", "receive_buffer", "network.type", "ipv4")},
	{netstatUDPErrors, "Udp.SndbufErrors", attr("error.type", "send_buffer", "network.type", "ipv4")},
	{netstatUDPErrors, "Udp6InErrors", attr("error.type", "in_errors", "network.type", "ipv6")},
	{netstatUDPErrors, "Udp6NoPorts", attr("error.type", "no_ports", "network.type", "ipv6")},
	{netstatUDPErrors, "Udp6RcvbufErrors", attr("error.type", "receive_buffer", "network.type", "ipv6")},
	{netstatUDPErrors, "Udp6SndbufErrors", attr("error.type", "send_buffer", "network.type", "ipv6")},
	{netstatEstablished, "Tcp.CurrEstab", nil},
	{netstatSynRetransmitted, "TcpExt.TCPSynRetrans", nil},
	{netstatOutOfOrder, "TcpExt.TCPOFOQueue", nil},
	{netstatReceiveQueueDrops, "TcpExt.TCPRcvQDrop", nil},
	{netstatSyncookies, "TcpExt.SyncookiesSent", attr("system.network.tcp.syncookie", "sent")},
	{netstatSyncookies, "TcpExt.SyncookiesRecv", attr("system.network.tcp.syncookie", "received")},
	{netstatSyncookies, "TcpExt.SyncookiesFailed", attr("system.network.tcp.syncookie", "failed")},
	{netstatUDPLiteErrors, "UdpLite.InErrors", attr("network.type", "ipv4")},
	{netstatUDPLiteErrors, "UdpLite6InErrors", attr("network.type", "ipv6")},
	{netstatICMPMessages, "Icmp.InMsgs", attr("network.io.direction", "receive", "network.type", "ipv4")},
	{netstatICMPMessages, "Icmp.OutMsgs", attr("network.io.direction", "transmit", "network.type", "ipv4")},
	{netstatICMPMessages, "Icmp6InMsgs", attr("network.io.direction", "receive", "network.type", "ipv6")},
	{netstatICMPMessages, "Icmp6OutMsgs", attr("network.io.direction", "transmit", "network.type", "ipv6")},
	{netstatICMPErrors, "Icmp.InErrors", attr("network.type", "ipv4")},
	{netstatICMPErrors, "Icmp6InErrors", attr("network.type", "ipv6")},
	{netstatIPIO, "IpExt.InOctets", attr("network.io.direction", "receive", "network.type", "ipv4")},
	{netstatIPIO, "IpExt.OutOctets", attr("network.io.direction", "transmit", "network.type", "ipv4")},
	{netstatIPIO, "Ip6InOctets", attr("network.io.direction", "receive", "network.type", "ipv6")},
	{netstatIPIO, "Ip6OutOctets", attr("network.io.direction", "transmit", "network.type", "ipv6")},
	{netstatForwarding, "Ip.Forwarding", nil},
}

// attr lists attributes, given as key, value, key, value.
func attr(kvs ...string) (all []otlp.KeyValue) {
	for i := 0; i < len(kvs); i += 2 {
		all = append(all, otlp.Attr(kvs[i], kvs[i+1]))
	}
	return all
}

// netstat is the scraper of the counters of network protocols.
type netstat struct {
	snmp, ext snmp // of IPv4 and what both have, extensions
	v6        snmp6
	points    []netstatPoint
	v         []uint64
	has       []bool
	globs     []string // of counters that are passed on; nil once they are looked up
}

type netstatPoint struct {
	metric int
	attrs  []byte
}

func newNetstat(h *Host, cfg *Config) scraper {
	net := h.proc + "/" + h.pid + "/net/"
	index := map[string]int{}
	s := &netstat{
		snmp: snmp{File: kernel.NewFile(net + "snmp"), index: index},
		ext:  snmp{File: kernel.NewFile(net + "netstat"), index: index},
		v6:   snmp6{File: kernel.NewFile(net + "snmp6"), index: index}, // the same map
	}
	for _, q := range netstatPoints {
		if q.metric >= netstatSynRetransmitted && !cfg.Netstat.Detail {
			break
		}
		index[q.name] = len(s.points)
		s.points = append(s.points, netstatPoint{q.metric, series.Attributes(q.attrs...)})
	}
	s.globs = cfg.Netstat.Counters
	s.v, s.has = make([]uint64, len(s.points)), make([]bool, len(s.points))
	return s
}

func (s *netstat) close() {
	s.snmp.Close()
	s.ext.Close()
	s.v6.Close()
}

func (s *netstat) scrape(p *series.Points, _ uint64) error {
	if len(s.globs) > 0 {
		s.lookUp()
	}
	clear(s.has)
	err := errors.Join(s.snmp.read(s.v, s.has), s.ext.read(s.v, s.has), s.v6.read(s.v, s.has))
	for i, q := range s.points {
		if !s.has[i] {
			continue
		}
		v := s.v[i]
		if q.metric == netstatForwarding && v != 1 { // 2 stands for no
			v = 0
		}
		p.Int(q.metric, q.attrs, v)
	}
	return err
}
