package gateway

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
)

// slots is a listener with at most so many connections at a time, for grpc. That has a read buffer for a connection only
// while there is something to read, if the connection is a [net.TCPConn] itself: then nothing can be wrapped around it that
// hears of its end, and grpc tells that ([ends]).
type slots struct {
	net.Listener
	taken  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newSlots(l net.Listener, most int) *slots {
	return &slots{Listener: l, taken: make(chan struct{}, most), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (s *slots) Accept() (net.Conn, error) {
	select {
	case s.taken <- struct{}{}:
	case <-s.closed:
		return nil, net.ErrClosed
	}
	c, err := s.Listener.Accept()
	if err != nil {
		<-s.taken
		return nil, err
	}
	return &slotConn{Conn: c, since: time.Now(), give: sync.OnceFunc(func() { <-s.taken })}, nil
}

// Close implements net.Listener.
func (s *slots) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Listener.Close()
}

// slotConn has a slot, from its beginning to its end. It knows when it began: an address that was another pod's until then
// can be told by it.
type slotConn struct {
	net.Conn
	since time.Time
	give  func()
}

// Close implements net.Conn.
func (c *slotConn) Close() error {
	c.give()
	return c.Conn.Close()
}

// handshake gives grpc the connection itself, or with TLS around it, and keeps what is known of it.
type handshake struct {
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (h handshake) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	s, ok := c.(*slotConn)
	if !ok {
		return h.TransportCredentials.ServerHandshake(c)
	}
	conn, info, err := h.TransportCredentials.ServerHandshake(s.Conn)
	return conn, slotInfo{info, s}, err
}

// slotInfo is what is known of a connection.
type slotInfo struct {
	credentials.AuthInfo
	conn *slotConn
}

// since is when the connection of a peer began.
func since(p *peer.Peer) time.Time {
	if i, ok := p.AuthInfo.(slotInfo); ok {
		return i.conn.since
	}
	return time.Now()
}

// ends gives the slots of connections back.
type ends struct{}

// TagConn implements stats.Handler.
func (ends) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (ends) HandleConn(ctx context.Context, s stats.ConnStats) {
	if _, ended := s.(*stats.ConnEnd); !ended {
		return
	}
	if p, ok := peer.FromContext(ctx); ok {
		if i, ok := p.AuthInfo.(slotInfo); ok {
			i.conn.give()
		}
	}
}

// TagRPC implements stats.Handler.
func (ends) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (ends) HandleRPC(context.Context, stats.RPCStats) {}
