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
	networkSockets
	networkSocketMemory
	networkConntrackCount
	networkConntrackMax
)

const (
	networkInterface = "network.interface.name=<ifname>"
	networkDirection = networkInterface + "; network.io.direction=receive|transmit"
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

	sockets                 sockets
	conntrack, conntrackMax kernel.File
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
	}
}

func (s *network) close() {
	s.dev.Close()
	s.sockets.close()
	s.conntrack.Close()
	s.conntrackMax.Close()
}

func (s *network) scrape(p *series.Points, now uint64) error {
	b, err := s.dev.Read()
	if err == nil {
		err = s.update(b, p.Start, now)
		s.points(p)
	}
	err2 := s.sockets.scrape(p)
	return errors.Join(err, err2, s.fromConntrack(p))
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
	if n.bond.slaves != nil {
		n.bond.ask(s)
	}
}

func (s *network) points(p *series.Points) {
	boot := p.Start
	for metric := networkIO; metric <= networkBondMembers; metric++ {
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
	return nil
}
