package host

import (
	"bytes"
	"os"
	"strings"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

// linkDetail is what is told of an interface with detail only. Figures in /sys are read when the
// interface is asked for its state: each takes three system calls.
type linkDetail struct {
	start   uint64 // of the counters in /sys
	asked   bool
	figures [linkFigures]linkFigure
	texts   [][]byte // paths of linkTexts
	said    []byte   // what they said, to see changes
	info    []byte   // attributes

	errors               [5][]byte // attributes, in the order of linkErrors
	carrierUp, carrierDn []byte
	neighbours           uint64
}

// linkFigure is a number in a file.
type linkFigure struct {
	path []byte
	v    uint64
	has  bool
}

const (
	linkNoHandler = iota
	linkCarrierUp
	linkCarrierDown
	linkMTU // from here on no counters
	linkQueue
	linkFigures
)

// linkErrors are the kinds of errors in /proc/net/dev.
var linkErrors = [...]struct {
	column          int
	direction, kind string
}{
	{kernel.NetReceiveFIFO, "receive", "fifo"}, {kernel.NetReceiveFrame, "receive", "frame"},
	{kernel.NetTransmitFIFO, "transmit", "fifo"}, {kernel.NetTransmitCollisions, "transmit", "collision"}, {kernel.NetTransmitCarrier, "transmit", "carrier"},
}

// linkTexts are the attributes of system.network.interface.info.
var linkTexts = [...]struct{ file, attribute string }{
	{"address", "system.network.address"}, {"broadcast", "system.network.broadcast"}, {"duplex", "system.network.duplex"},
	{"operstate", "system.network.operstate"}, {"ifalias", "system.network.ifalias"},
}

func newLinkDetail(dir, name string) (d linkDetail) {
	for i, file := range [linkFigures]string{linkNoHandler: "statistics/rx_nohandler", linkCarrierUp: "carrier_up_count",
		linkCarrierDown: "carrier_down_count", linkMTU: "mtu", linkQueue: "tx_queue_len"} {
		d.figures[i].path = kernel.CString(dir + "/" + file)
	}
	for _, t := range linkTexts {
		d.texts = append(d.texts, kernel.CString(dir+"/"+t.file))
	}
	ifname := otlp.Attr("network.interface.name", name)
	for i, e := range linkErrors {
		d.errors[i] = series.Attributes(ifname, otlp.Attr("network.io.direction", e.direction), otlp.Attr("error.type", e.kind))
	}
	d.carrierUp = series.Attributes(ifname, otlp.Attr("system.network.carrier", "up"))
	d.carrierDn = series.Attributes(ifname, otlp.Attr("system.network.carrier", "down"))
	return d
}

// ask reads what is in /sys.
func (d *linkDetail) ask(s *network, n *netInterface) {
	if !d.asked {
		d.start, d.asked = n.start, true
	}
	for i := range d.figures {
		f := &d.figures[i]
		b, errno := kernel.ReadSmall(f.path, s.small)
		v, _, ok := kernel.Number(b)
		if f.has = errno == 0 && ok; !f.has {
			continue
		}
		if v < f.v && i < linkMTU {
			d.start = s.prev
		}
		f.v = v
	}
	s.said = s.said[:0]
	for _, path := range d.texts {
		b, _ := kernel.ReadSmall(path, s.members[:]) // EINVAL: a duplex without a link
		b, _ = kernel.Line(b)
		s.said = append(append(s.said, bytes.TrimSpace(b)...), '\n')
	}
	if d.info != nil && bytes.Equal(d.said, s.said) {
		return
	}
	d.said = bytes.Clone(s.said)
	dir := string(bytes.TrimSuffix(d.texts[0], []byte("/address\x00")))
	kvs := []otlp.KeyValue{otlp.Attr("network.interface.name", dir[strings.LastIndexByte(dir, '/')+1:])}
	for i, value := range strings.Split(strings.TrimSuffix(string(d.said), "\n"), "\n") {
		if value != "" {
			kvs = append(kvs, otlp.Attr(linkTexts[i].attribute, value))
		}
	}
	uevent, _ := os.ReadFile(dir + "/uevent")
	for l := range strings.Lines(string(uevent)) {
		if kind, ok := strings.CutPrefix(strings.TrimSpace(l), "DEVTYPE="); ok {
			kvs = append(kvs, otlp.Attr("system.network.kind", kind))
		}
	}
	d.info = series.Attributes(kvs...)
}

// point adds the interface's points of a metric.
func (d *linkDetail) point(p *series.Points, metric int, n *netInterface) {
	figure := func(i int, attrs []byte) {
		if f := &d.figures[i]; f.has {
			p.Start = d.start
			p.Int(metric, attrs, f.v)
		}
	}
	switch metric {
	case networkErrorDetail:
		for i, e := range linkErrors {
			p.Int(metric, d.errors[i], n.v[e.column])
		}
	case networkMulticast:
		p.Int(metric, n.attrs, n.v[kernel.NetReceiveMulticast])
	case networkCompressed:
		p.Int(metric, n.receive, n.v[kernel.NetReceiveCompressed])
		p.Int(metric, n.transmit, n.v[kernel.NetTransmitCompressed])
	case networkNoHandler:
		figure(linkNoHandler, n.attrs)
	case networkMTU:
		figure(linkMTU, n.attrs)
	case networkCarrierChanges:
		figure(linkCarrierUp, d.carrierUp)
		figure(linkCarrierDown, d.carrierDn)
	case networkQueueLength:
		figure(linkQueue, n.attrs)
	case networkInfo:
		p.Int(metric, d.info, 1)
	case networkNeighbours:
		p.Int(metric, n.attrs, d.neighbours)
	}
}

// neighbours counts the lines of /proc/net/arp by interface, which stands in the last column.
func (s *network) neighbours() error {
	b, err := s.arp.ReadIfThere()
	_, b = kernel.Line(b)
	for len(b) > 0 {
		var l, name []byte
		l, b = kernel.Line(b)
		for word, rest := kernel.Field(l); len(word) > 0; word, rest = kernel.Field(rest) {
			name = word
		}
		if e := s.interfaces.byName[string(name)]; e != nil {
			e.val.detail.neighbours++
		}
	}
	return err
}
