package gateway

import (
	"context"
	"net"
	"time"
)

// datedListener gives connections that know when they began: an address that was another pod's until then can be
// told by it.
type datedListener struct{ net.Listener }

// Accept implements net.Listener.
func (l datedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return datedConn{c, datedAddr{c.RemoteAddr(), time.Now()}}, nil
}

type datedConn struct {
	net.Conn
	remote datedAddr
}

// RemoteAddr implements net.Conn.
func (c datedConn) RemoteAddr() net.Addr { return c.remote }

type datedAddr struct {
	net.Addr
	since time.Time
}

// connectedAt is when the connection from an address began.
func connectedAt(a net.Addr) time.Time {
	if d, ok := a.(datedAddr); ok {
		return d.since
	}
	return time.Now()
}

type connectedKey struct{}

// withConnected puts it where a request over HTTP finds it.
func withConnected(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectedKey{}, connectedAt(c.RemoteAddr()))
}

func connectedOf(ctx context.Context) time.Time {
	t, _ := ctx.Value(connectedKey{}).(time.Time)
	return t
}
