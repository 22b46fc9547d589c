package export

import (
	"context"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"stint/export/otlp"
)

// nameServer is a small DNS server on loopback that this process asks for all names. Each answer
// begins with another address of the name, as those of cluster DNS do.
type nameServer struct {
	mu    sync.Mutex
	names map[string][]string // addresses by name
	asked int
}

func newNameServer(t testing.TB) *nameServer {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{names: map[string][]string{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := n.answer(buf[:size]); answer != nil {
				conn.WriteTo(answer, from)
			}
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		conn.Close()
		<-done
	})
	return n
}

func (n *nameServer) set(name string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[name] = addrs
}

func (n *nameServer) answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	q := m.Questions[0]
	addrs, known := n.names[strings.TrimSuffix(q.Name.String(), ".")]
	m.Response, m.Authoritative, m.RecursionAvailable = true, true, true
	m.Additionals = nil // EDNS
	if !known {
		m.RCode = dnsmessage.RCodeNameError
	} else if q.Type == dnsmessage.TypeA {
		n.asked++
		for i := range addrs {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(addrs[(i+n.asked)%len(addrs)]).As4()},
			})
		}
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// listenBoth listens on one port of two addresses of this machine: two pods behind a name.
func listenBoth(t testing.TB) (a, b net.Listener, port string) {
	for range 50 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ = net.SplitHostPort(first.Addr().String())
		second, err := net.Listen("tcp", "127.0.0.2:"+port)
		if err == nil {
			return first, second, port
		}
		first.Close() // somebody has the other one
	}
	t.Fatal("no port is free on both addresses")
	return nil, nil, ""
}

// When a name has another address and the old one is dead the new one is used; nothing is lost.
func TestNameChanges(t *testing.T) {
	for transport := range transports {
		t.Run(transport, func(t *testing.T) {
			names := newNameServer(t)
			names.set("gateway.example", "127.0.0.1")
			first, second, port := listenBoth(t)
			defer second.Close()
			k := &keeper{Listener: first}
			old := newReceiverOn(t, transport, k)
			x := transports[transport].exporter("gateway.example:" + port)
			e, _ := newExporting(t, BatchDefaults(), Exporters{"x": x}, silent)
			s := newSource(t)
			done := make(chan struct{})
			go func() { defer close(done); e.Run(t.Context()) }()
			input := func() {
				for range 10 {
					e.Input(otlp.Logs, "test")(s.logs("a", 10, 100))
				}
				e.Flush()
			}
			input()
			until(t, "the old address has it, and said so", func() bool { d, _, _ := s.settled(); return d == 10 })
			if n := len(old.records()); n != 100 {
				t.Errorf("%d records at the old address, want 100", n)
			}

			first.Close()
			k.hangUp()
			input()
			until(t, "it is down", func() bool { return e.Status()[0].Down != "" })
			moved := newReceiverOn(t, transport, second)
			names.set("gateway.example", "127.0.0.2")
			until(t, "all is delivered", func() bool { d, _, _ := s.settled(); return d == 20 })
			if n := len(moved.records()); n != 100 {
				t.Errorf("%d records at the new address, want 100", n)
			}
			e.CloseInput()
			<-done
			s.want(20, 0, 0)
		})
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// newReceiverOn serves on a listener, which it closes at the end.
func newReceiverOn(t testing.TB, transport string, l net.Listener) *receiver {
	if transport == "grpc" {
		return newGRPCOn(t, l, nil)
	}
	r := &receiver{t: t, addr: l.Addr().String()}
	s := httptest.NewUnstartedServer(r)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return r
}
