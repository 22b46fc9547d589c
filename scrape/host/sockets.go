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
		kernel.Sockstat
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
		{networkSockets, kernel.SockAll, "all", "inuse", false, 1},
		{networkSockets, kernel.SockTCPInuse, "tcp", "inuse", true, 1},
		{networkSockets, kernel.SockTCPOrphan, "tcp", "orphan", false, 1},
		{networkSockets, kernel.SockTCPTimeWait, "tcp", "time_wait", false, 1},
		{networkSockets, kernel.SockTCPAlloc, "tcp", "alloc", false, 1},
		{networkSockets, kernel.SockUDPInuse, "udp", "inuse", true, 1},
		{networkSockets, kernel.SockUDPLiteInuse, "udplite", "inuse", true, 1},
		{networkSockets, kernel.SockRawInuse, "raw", "inuse", true, 1},
		{networkSockets, kernel.SockFragInuse, "frag", "inuse", true, 1},
		{networkSocketMemory, kernel.SockTCPPages, "tcp", "", false, page},
		{networkSocketMemory, kernel.SockUDPPages, "udp", "", false, page},
		{networkSocketMemory, kernel.SockFragBytes, "frag", "", true, 1},
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
		err = s.v4.Parse(b)
	}
	b, err6 := s.v6.ReadIfThere() // absent where IPv6 is off
	if err6 == nil {
		err6 = s.v6.Parse(b)
	}
	for i := range s.points {
		q := &s.points[i]
		from, bad := &s.v4.Sockstat, err != nil
		if q.v6 {
			from, bad = &s.v6.Sockstat, err6 != nil
		}
		if !bad && from.Has[q.field] {
			p.Int(q.metric, q.attrs, from.V[q.field]*q.unit)
		}
	}
	return errors.Join(err, err6)
}
