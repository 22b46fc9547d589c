package host

import (
	"errors"
	"os"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

// sockets is the part of the network scraper that counts sockets.
type sockets struct {
	v4, v6 struct {
		kernel.File
		sockstat
	}
	points []socketPoint
}

// socketPoint is where a point of system.network.socket.* comes from.
type socketPoint struct {
	metric, field int
	v6            bool
	unit          uint64
	attrs         []byte
}

func newSockets(net string) sockets {
	var s sockets
	s.v4.File = kernel.NewFile(net + "/sockstat")
	s.v6.File = kernel.NewFile(net + "/sockstat6")
	page := uint64(os.Getpagesize())
	for _, t := range []struct {
		metric, field    int
		transport, state string
		families         bool // counted by address family
		unit             uint64
	}{
		{networkSockets, skSockets, "all", "inuse", false, 1},
		{networkSockets, skTCPInuse, "tcp", "inuse", true, 1},
		{networkSockets, skTCPOrphan, "tcp", "orphan", false, 1},
		{networkSockets, skTCPTimeWait, "tcp", "time_wait", false, 1},
		{networkSockets, skTCPAlloc, "tcp", "alloc", false, 1},
		{networkSockets, skUDPInuse, "udp", "inuse", true, 1},
		{networkSockets, skUDPLiteInuse, "udplite", "inuse", true, 1},
		{networkSockets, skRawInuse, "raw", "inuse", true, 1},
		{networkSockets, skFragInuse, "frag", "inuse", true, 1},
		{networkSocketMemory, skTCPPages, "tcp", "", false, page},
		{networkSocketMemory, skUDPPages, "udp", "", false, page},
		{networkSocketMemory, skFragBytes, "frag", "", true, 1},
	} {
		for _, v6 := range []bool{false, true} {
			kvs := []otlp.KeyValue{otlp.Attr("network.transport", t.transport)}
			switch {
			case t.families && v6:
				kvs = append(kvs, otlp.Attr("network.type", "ipv6"))
			case t.families:
				kvs = append(kvs, otlp.Attr("network.type", "ipv4"))
			case v6:
				continue
			}
			if t.state != "" {
				kvs = append(kvs, otlp.Attr("system.network.socket.state", t.state))
			}
			s.points = append(s.points, socketPoint{t.metric, t.field, v6, t.unit, series.Attributes(kvs...)})
		}
	}
	return s
}

func (s *sockets) close() {
	s.v4.Close()
	s.v6.Close()
}

func (s *sockets) scrape(p *series.Points) error {
	b, err := s.v4.Read()
	if err == nil {
		err = parseSockstat(&s.v4.sockstat, b)
	}
	b, err6 := s.v6.ReadIfThere() // absent where IPv6 is off
	if err6 == nil {
		err6 = parseSockstat(&s.v6.sockstat, b)
	}
	for i := range s.points {
		q := &s.points[i]
		from, bad := &s.v4.sockstat, err != nil
		if q.v6 {
			from, bad = &s.v6.sockstat, err6 != nil
		}
		if !bad && from.has[q.field] {
			p.Int(q.metric, q.attrs, from.v[q.field]*q.unit)
		}
	}
	return errors.Join(err, err6)
}
