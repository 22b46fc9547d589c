package host

import (
	"errors"
	"math"
	"os"
	"strings"
	"time"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	networkIO = iota
	networkPackets
	networkDropped
	networkErrors
	networkUp
	networkSpeed
	networkBondMembers
	networkErrorDetail // from here on with detail
	networkMulticast
	networkCompressed
	networkNoHandler
	networkMTU
	networkCarrierChanges
	networkQueueLength
	networkInfo
	networkNeighbours
	networkSockets
	networkSocketMemory
	networkConntrackCount
	networkConntrackMax
	networkConntrackEvents // with detail
	networkConnections     // with connections, as the next
	networkUDPQueues
)

const (
	networkInterface = "network.interface.name=<ifname>"
	networkDirection = networkInterface + "; network.io.direction=receive|transmit"
	networkAsked     = "host.network.detail is on"
)

var networkMetrics = []series.Metric{
	networkIO: {
		Metric: otlp.Metric{Name: "system.network.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes received and sent by the interface."},
		Attributes: networkDirection,
		Source:     "/proc/1/net/dev bytes",
	},
	networkPackets: {
		Metric: otlp.Metric{Name: "system.network.packet.count", Unit: "{packet}", Instrument: otlp.Counter,
			Description: "Packets received and sent by the interface."},
		Attributes: networkDirection,
		Source:     "/proc/1/net/dev packets",
	},
	networkDropped: {
		Metric: otlp.Metric{Name: "system.network.packet.dropped", Unit: "{packet}", Instrument: otlp.Counter,
			Description: "Packets that the interface dropped, those it had no room for included."},
		Attributes: networkDirection,
		Source:     "/proc/1/net/dev drop",
	},
	networkErrors: {
		Metric: otlp.Metric{Name: "system.network.errors", Unit: "{error}", Instrument: otlp.Counter,
			Description: "Errors in receiving and sending on the interface."},
		Attributes: networkDirection,
		Source:     "/proc/1/net/dev errs",
	},
	networkUp: {
		Metric: otlp.Metric{Name: "system.network.interface.up", Unit: "1", Instrument: otlp.UpDown,
			Description: "1 when the interface can pass packets (operstate up), else 0."},
		Attributes: networkInterface,
		Source:     "/sys/class/net/<ifname>/operstate",
	},
	networkSpeed: {
		Metric: otlp.Metric{Name: "system.network.interface.speed", Unit: "By/s", Instrument: otlp.UpDown,
			Description: "Speed of the interface's link."},
		Attributes: networkInterface,
		Source:     "/sys/class/net/<ifname>/speed",
		When:       "the interface has a link with a speed",
	},
	networkBondMembers: {
		Metric: otlp.Metric{Name: "system.network.bond.member.count", Unit: "{interface}", Instrument: otlp.UpDown,
			Description: "Interfaces that are part of the bond, and those of them that have a link."},
		Attributes: networkInterface + "; system.network.bond.member.state=configured|active",
		Source:     "/sys/class/net/<ifname>/bonding/slaves, /sys/class/net/<member>/bonding_slave/mii_status",
		When:       "the interface is a bond",
	},
	networkErrorDetail: {
		Metric: otlp.Metric{Name: "system.network.error.detail", Unit: "{error}", Instrument: otlp.Counter,
			Description: "Errors of the interface by kind; they are contained in system.network.errors, or in the dropped packets."},
		Attributes: networkDirection + "; error.type=fifo|frame|carrier|collision",
		Source:     "/proc/1/net/dev fifo, frame, colls, carrier",
		When:       networkAsked,
	},
	networkMulticast: {
		Metric: otlp.Metric{Name: "system.network.packet.multicast", Unit: "{packet}", Instrument: otlp.Counter,
			Description: "Multicast packets received."},
		Attributes: networkInterface,
		Source:     "/proc/1/net/dev multicast",
		When:       networkAsked,
	},
	networkCompressed: {
		Metric: otlp.Metric{Name: "system.network.packet.compressed", Unit: "{packet}", Instrument: otlp.Counter,
			Description: "Compressed packets received and sent, as SLIP and PPP do."},
		Attributes: networkDirection,
		Source:     "/proc/1/net/dev compressed",
		When:       networkAsked,
	},
	networkNoHandler: {
		Metric: otlp.Metric{Name: "system.network.packet.nohandler", Unit: "{packet}", Instrument: otlp.Counter,
			Description: "Packets received that nothing in the kernel wanted; read each 30 s."},
		Attributes: networkInterface,
		Source:     "/sys/class/net/<ifname>/statistics/rx_nohandler",
		When:       networkAsked,
	},
	networkMTU: {
		Metric: otlp.Metric{Name: "system.network.interface.mtu", Unit: "By", Instrument: otlp.Gauge,
			Description: "Largest packet that the interface takes."},
		Attributes: networkInterface,
		Source:     "/sys/class/net/<ifname>/mtu",
		When:       networkAsked,
	},
	networkCarrierChanges: {
		Metric: otlp.Metric{Name: "system.network.interface.carrier_change.count", Unit: "{change}", Instrument: otlp.Counter,
			Description: "Times that the interface's link came and went; read each 30 s."},
		Attributes: networkInterface + "; system.network.carrier=up|down",
		Source:     "/sys/class/net/<ifname>/carrier_up_count, carrier_down_count",
		When:       networkAsked,
	},
	networkQueueLength: {
		Metric: otlp.Metric{Name: "system.network.interface.queue_length", Unit: "{packet}", Instrument: otlp.Gauge,
			Description: "Packets that may wait to be sent."},
		Attributes: networkInterface,
		Source:     "/sys/class/net/<ifname>/tx_queue_len",
		When:       networkAsked,
	},
	networkInfo: {
		Metric: otlp.Metric{Name: "system.network.interface.info", Unit: "1", Instrument: otlp.UpDown,
			Description: "1 for each interface, with what it is; kind is that of virtual ones (bridge, bond, vlan, …). Alternative names are not told yet. It is another series when one of these changes."},
		Attributes: networkInterface + "; system.network.address; system.network.broadcast; system.network.duplex; system.network.operstate; system.network.ifalias; system.network.altname (not yet); system.network.kind",
		Source:     "/sys/class/net/<ifname>/address, broadcast, duplex, operstate, ifalias, uevent",
		When:       networkAsked,
	},
	networkNeighbours: {
		Metric: otlp.Metric{Name: "system.network.arp.entry.count", Unit: "{entry}", Instrument: otlp.UpDown,
			Description: "Neighbours (IPv4) that the kernel knows on the interface."},
		Attributes: networkInterface,
		Source:     "/proc/1/net/arp",
		When:       networkAsked,
	},
	networkSockets: {
		Metric: otlp.Metric{Name: "system.network.socket.count", Unit: "{socket}", Instrument: otlp.UpDown,
			Description: "Sockets by state, and reassembly queues under the transport frag. Without network.type: of both IPv4 and IPv6; the transport all has those of every kind."},
		Attributes: "network.transport=tcp|udp|udplite|raw|frag|all; network.type=ipv4|ipv6 (with inuse, not with all); system.network.socket.state=inuse|orphan|time_wait|alloc",
		Source:     "/proc/1/net/sockstat, /proc/1/net/sockstat6",
	},
	networkSocketMemory: {
		Metric: otlp.Metric{Name: "system.network.socket.memory", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of socket buffers and reassembly queues."},
		Attributes: "network.transport=tcp|udp|frag; network.type=ipv4|ipv6 (with frag)",
		Source:     "/proc/1/net/sockstat, /proc/1/net/sockstat6",
	},
	networkConntrackCount: {
		Metric: otlp.Metric{Name: "system.network.conntrack.count", Unit: "{entry}", Instrument: otlp.UpDown,
			Description: "Connections that the kernel tracks."},
		Source: "/proc/1/net/stat/nf_conntrack",
		When:   "connections are tracked",
	},
	networkConntrackMax: {
		Metric: otlp.Metric{Name: "system.network.conntrack.max", Unit: "{entry}", Instrument: otlp.UpDown,
			Description: "Connections that the kernel can track."},
		Source: "/proc/sys/net/netfilter/nf_conntrack_max",
		When:   "connections are tracked",
	},
	networkConntrackEvents: {
		Metric: otlp.Metric{Name: "system.network.conntrack.event.count", Unit: "{event}", Instrument: otlp.Counter,
			Description: "What happened in the tracking of connections, over all CPUs."},
		Attributes: "system.network.conntrack.event=found|invalid|ignore|insert|insert_failed|drop|early_drop|search_restart",
		Source:     "/proc/1/net/stat/nf_conntrack",
		When:       networkAsked + " and connections are tracked",
	},
	networkConnections: {
		Metric: otlp.Metric{Name: "system.network.connection.count", Unit: "{connection}", Instrument: otlp.UpDown,
			Description: "TCP connections and listening sockets by state."},
		Attributes: "network.transport=tcp; network.connection.state=closed|close_wait|closing|established|fin_wait_1|fin_wait_2|last_ack|listen|syn_received|syn_sent|time_wait",
		Source:     "/proc/1/net/tcp, /proc/1/net/tcp6",
		When:       "host.network.connections is on",
	},
	networkUDPQueues: {
		Metric: otlp.Metric{Name: "system.network.udp.queue.size", Unit: "By", Instrument: otlp.Gauge,
			Description: "Bytes that wait in the queues of UDP sockets."},
		Attributes: "system.network.queue=receive|transmit; network.type=ipv4|ipv6",
		Source:     "/proc/1/net/udp, /proc/1/net/udp6",
		When:       "host.network.connections is on",
	},
}

// linkRefresh is how often an interface is asked for its state and speed: some drivers take
// the kernel's network lock for it.
const linkRefresh = uint64(30 * time.Second)

// network is the scraper of interfaces and sockets.
type network struct {
	h          *Host
	cfg        Network
	net        string // directory of the files of the network namespace
	dev        kernel.File
	interfaces table[netInterface]
	prev       uint64 // time of the last scrape of dev
	small      []byte // for reading attributes in /sys
	members    [4 << 10]byte
	path       []byte
	said       []byte // what linkTexts said of an interface

	sockets                 sockets
	conntrack, conntrackMax kernel.File
	events                  conntrackEvents
	arp                     kernel.File
	connections             connections
}

// netInterface is what is known of an interface in /proc/net/dev.
type netInterface struct {
	skip  bool   // not reported; nothing below is set
	start uint64 // start time of its counters
	v     [kernel.NetColumns]uint64

	operstate, speed []byte // paths
	askedAt          uint64 // when they were read last
	up               uint64
	hasState         bool
	bytesPerSecond   uint64 // 0 = unknown
	bond             bond

	attrs, receive, transmit []byte
	detail                   linkDetail
}

func newNetwork(h *Host, cfg *Config) scraper {
	net := h.proc + "/" + h.pid + "/net"
	return &network{
		h: h, cfg: cfg.Network, net: net,
		dev:       kernel.NewFile(net + "/dev"),
		small:     make([]byte, 64),
		sockets:   newSockets(net),
		conntrack: kernel.NewFile(net + "/stat/nf_conntrack"),
		// In /proc/sys/net the count is that of the reader's namespace, the maximum is the machine's.
		conntrackMax: kernel.NewFile(h.proc + "/sys/net/netfilter/nf_conntrack_max"),
		events:       newConntrackEvents(),
		arp:          kernel.NewFile(net + "/arp"),
		connections:  newConnections(net),
	}
}

func (s *network) close() {
	s.dev.Close()
	s.sockets.close()
	s.conntrack.Close()
	s.conntrackMax.Close()
	s.arp.Close()
}

func (s *network) scrape(p *series.Points, now uint64) error {
	b, err := s.dev.Read()
	if err == nil {
		err = s.update(b, p.Start, now)
		if s.cfg.Detail {
			err = errors.Join(err, s.neighbours())
		}
		s.points(p)
	}
	err2 := s.sockets.scrape(p)
	err3 := s.fromConntrack(p)
	if s.cfg.Connections {
		err3 = errors.Join(err3, s.connections.scrape(p))
	}
	return errors.Join(err, err2, err3)
}

// update takes in the content of /proc/net/dev. A bad line costs its interface.
func (s *network) update(b []byte, boot, now uint64) (err error) {
	s.interfaces.begin()
	for len(b) > 0 {
		var l []byte
		var d kernel.NetDev
		l, b = kernel.Line(b)
		head, ok := d.Parse(l)
		if head {
			continue
		} else if !ok {
			err = kernel.Malformed("/proc/net/dev", l)
			continue
		}
		n, fresh := s.interfaces.get(d.Name)
		if fresh {
			s.appear(n, string(d.Name))
			// An interface that was not there in the last scrape began to count after it.
			if n.start = s.prev; s.prev == 0 {
				n.start = boot
			}
		}
		if n.skip {
			continue
		}
		for i, v := range d.V {
			if v < n.v[i] { // another interface of that name, or a driver that began anew
				n.start = s.prev
			}
		}
		n.v = d.V
		n.detail.neighbours = 0
		if now-n.askedAt >= linkRefresh || now < n.askedAt {
			s.ask(n)
			n.askedAt = now
		}
	}
	s.interfaces.sweep()
	s.prev = now
	return err
}

// appear decides on an interface that was not listed before.
func (s *network) appear(n *netInterface, name string) {
	dir := s.h.sys + "/class/net/" + name
	if n.skip = !selected(s.cfg.Include, s.cfg.Exclude, name); n.skip {
		return
	}
	if n.skip = len(s.cfg.Include) == 0 && isVeth(dir) && !hasDefaultRoute(s.net, name); n.skip {
		return
	}
	ifname := otlp.Attr("network.interface.name", name)
	n.attrs = series.Attributes(ifname)
	n.receive = series.Attributes(ifname, otlp.Attr("network.io.direction", "receive"))
	n.transmit = series.Attributes(ifname, otlp.Attr("network.io.direction", "transmit"))
	n.operstate, n.speed = kernel.CString(dir+"/operstate"), kernel.CString(dir+"/speed")
	if s.cfg.Detail {
		n.detail = newLinkDetail(dir, name)
	}
	if exists(dir + "/bonding/slaves") {
		n.bond.slaves = kernel.CString(dir + "/bonding/slaves")
		n.bond.attrs.configured = series.Attributes(ifname, otlp.Attr("system.network.bond.member.state", "configured"))
		n.bond.attrs.active = series.Attributes(ifname, otlp.Attr("system.network.bond.member.state", "active"))
	}
}

// isVeth tells whether an interface is one end of a pair, whatever its name: the other end is
// in a pod, where its traffic is counted. /sys does not tell an interface's kind, so: Ethernet
// without hardware, linked to an interface that is not itself and not a lower one (as those of
// vlan and macvlan are), and of no kind that names itself in uevent (bridge, vxlan, …).
func isVeth(dir string) bool {
	attr := func(name string) string {
		b, _ := os.ReadFile(dir + "/" + name)
		return strings.TrimSpace(string(b))
	}
	index, link := attr("ifindex"), attr("iflink")
	if index == "" || link == "" || link == "0" || link == index || attr("type") != "1" || exists(dir+"/device") ||
		strings.Contains(attr("uevent"), "DEVTYPE=") {
		return false
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "lower_") {
			return false
		}
	}
	return err == nil
}

// hasDefaultRoute tells whether the interface leads to the world. A machine that is itself a
// container (LXC, systemd-nspawn) has an end of a pair for this; a node's ends lead to pods.
func hasDefaultRoute(net, name string) bool {
	v4, _ := os.ReadFile(net + "/route") // Iface Destination Gateway …, addresses in hexadecimal
	for l := range strings.Lines(string(v4)) {
		if f := strings.Fields(l); len(f) > 7 && f[0] == name && f[1] == "00000000" && f[7] == "00000000" {
			return true
		}
	}
	v6, _ := os.ReadFile(net + "/ipv6_route") // destination, prefix length, …, device
	for l := range strings.Lines(string(v6)) {
		if f := strings.Fields(l); len(f) > 9 && f[9] == name && f[1] == "00" && strings.Trim(f[0], "0") == "" {
			return true
		}
	}
	return false
}

// ask reads the state and speed of an interface, and the members of a bond.
func (s *network) ask(n *netInterface) {
	b, errno := kernel.ReadSmall(n.operstate, s.small)
	state, _ := kernel.Field(b)
	n.hasState, n.up = errno == 0, 0
	if string(state) == "up" {
		n.up = 1
	}
	b, errno = kernel.ReadSmall(n.speed, s.small) // EINVAL or -1: no link, or a virtual one
	n.bytesPerSecond = 0
	if mbits, _, ok := kernel.Number(b); errno == 0 && ok && mbits < math.MaxUint32 { // which is -1 on old kernels
		n.bytesPerSecond = mbits * 125000
	}
	if s.cfg.Detail {
		n.detail.ask(s, n)
	}
	if n.bond.slaves != nil {
		n.bond.ask(s)
	}
}

func (s *network) points(p *series.Points) {
	boot := p.Start
	for metric := networkIO; metric <= networkNeighbours; metric++ {
		if metric > networkBondMembers && !s.cfg.Detail {
			break
		}
		for _, n := range s.interfaces.list {
			if !n.skip {
				p.Start = n.start
				n.point(p, metric)
			}
		}
	}
	p.Start = boot
}

// point adds the interface's points of a metric.
func (n *netInterface) point(p *series.Points, metric int) {
	both := func(receive, transmit int) {
		p.Int(metric, n.receive, n.v[receive])
		p.Int(metric, n.transmit, n.v[transmit])
	}
	if metric > networkBondMembers {
		n.detail.point(p, metric, n)
		return
	}
	switch metric {
	case networkIO:
		both(kernel.NetReceiveBytes, kernel.NetTransmitBytes)
	case networkPackets:
		both(kernel.NetReceivePackets, kernel.NetTransmitPackets)
	case networkDropped:
		both(kernel.NetReceiveDropped, kernel.NetTransmitDropped)
	case networkErrors:
		both(kernel.NetReceiveErrors, kernel.NetTransmitErrors)
	case networkUp:
		if n.hasState {
			p.Int(metric, n.attrs, n.up)
		}
	case networkSpeed:
		if n.bytesPerSecond > 0 {
			p.Int(metric, n.attrs, n.bytesPerSecond)
		}
	case networkBondMembers:
		if n.bond.known {
			p.Int(metric, n.bond.attrs.configured, n.bond.configured)
			p.Int(metric, n.bond.attrs.active, n.bond.active)
		}
	}
}

func (s *network) fromConntrack(p *series.Points) error {
	b, err := s.conntrack.ReadIfThere()
	if err != nil || b == nil {
		return err
	}
	rows := b
	entries, err := parseConntrack(b)
	if err != nil {
		return err
	}
	p.Int(networkConntrackCount, nil, entries)
	b, err = s.conntrackMax.ReadIfThere()
	if err != nil || b == nil {
		return err
	}
	limit, _, ok := kernel.Number(b)
	if !ok {
		return kernel.Malformed("/proc/sys/net/netfilter/nf_conntrack_max", b)
	}
	p.Int(networkConntrackMax, nil, limit)
	if s.cfg.Detail {
		return s.events.points(p, rows)
	}
	return nil
}
