package gateway

import (
	"net"
	"sync"
)

// quota bounds what the requests of one client take of the memory for all: a quarter, so that one application
// can't keep the others out. A client is an address without its port.
type quota struct {
	most int64 // bytes; at least one request

	mu   sync.Mutex
	held map[string]int64 // of clients that hold something
}

// take says whether the client may have n bytes more, and notes them; give must follow.
func (q *quota) take(client string, n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held == nil {
		q.held = map[string]int64{}
	}
	if q.held[client]+int64(n) > q.most {
		return false
	}
	q.held[client] += int64(n)
	return true
}

func (q *quota) give(client string, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held[client] > int64(n) {
		q.held[client] -= int64(n)
	} else {
		delete(q.held, client)
	}
}

// hostOf is an address without its port.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}
