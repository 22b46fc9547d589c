package host

import (
	"bytes"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"stint/scrape/kernel"
	"stint/scrape/series"
)

// connections counts sockets by the lists of all of them, which may have a million lines of 150
// bytes: they are read in pieces. The kernel walks its hash tables for them, which takes
// milliseconds whatever there is.
type connections struct {
	paths  [4][]byte // of TCP and of UDP, each of IPv4 and IPv6
	buf    [64 << 10]byte
	states [tcpStates]uint64
	queues [2][2]uint64 // of IPv4 and IPv6; receive, transmit

	stateAttrs [tcpStates][]byte
	queueAttrs [2][2][]byte
}

// tcpStates is one more than the largest state of include/net/tcp_states.h.
const tcpStates = 13

// tcpStateNames are the names that OpenTelemetry has for them. A connection that is not accepted
// yet (NEW_SYN_RECV) is as one in SYN_RECV.
var tcpStateNames = [tcpStates]string{1: "established", 2: "syn_sent", 3: "syn_received", 4: "fin_wait_1", 5: "fin_wait_2", 6: "time_wait",
	7: "closed", 8: "close_wait", 9: "last_ack", 10: "listen", 11: "closing"}

const tcpSynReceived, tcpNewSynReceived = 3, 12

func newConnections(net string) (c connections) {
	for i, name := range []string{"/tcp", "/tcp6", "/udp", "/udp6"} {
		c.paths[i] = kernel.CString(net + name)
	}
	for i, name := range tcpStateNames {
		if name != "" {
			c.stateAttrs[i] = series.Attributes(attr("network.transport", "tcp", "network.connection.state", name)...)
		}
	}
	for i, family := range []string{"ipv4", "ipv6"} {
		for j, queue := range []string{"receive", "transmit"} {
			c.queueAttrs[i][j] = series.Attributes(attr("system.network.queue", queue, "network.type", family)...)
		}
	}
	return c
}

func (c *connections) scrape(p *series.Points) error {
	c.states, c.queues = [tcpStates]uint64{}, [2][2]uint64{}
	var errs error
	var has [4]bool
	for i := range c.paths {
		var err error
		if has[i], err = c.read(i); err != nil {
			errs = errors.Join(errs, err)
		}
	}
	if has[0] || has[1] {
		c.states[tcpSynReceived] += c.states[tcpNewSynReceived]
		for i, attrs := range c.stateAttrs {
			if attrs != nil {
				p.Int(networkConnections, attrs, c.states[i])
			}
		}
	}
	for i := range c.queues {
		for j, attrs := range c.queueAttrs[i] {
			if has[2+i] {
				p.Int(networkUDPQueues, attrs, c.queues[i][j])
			}
		}
	}
	return errs
}

// read takes in one of the lists; one that is not there (IPv6 is off) has nothing.
func (c *connections) read(i int) (has bool, err error) {
	path := c.paths[i]
	fail := func(errno error) (bool, error) {
		return false, &os.PathError{Op: "read", Path: string(path[:len(path)-1]), Err: errno}
	}
	fd, errno := kernel.Open(path)
	if errno == unix.ENOENT {
		return false, nil
	} else if errno != 0 {
		return fail(errno)
	}
	defer unix.Close(fd)
	head := true
	for n := 0; ; {
		r, err := unix.Read(fd, c.buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fail(err)
		}
		if r <= 0 {
			return !head, nil
		}
		n += r
		b := c.buf[:n]
		for {
			at := bytes.IndexByte(b, '\n')
			if at < 0 {
				break
			}
			if !head && !c.line(i, b[:at]) {
				return false, kernel.Malformed(string(path[:len(path)-1]), b[:at])
			}
			head, b = false, b[at+1:]
		}
		if n = copy(c.buf[:], b); n == len(c.buf) {
			return false, kernel.Malformed(string(path[:len(path)-1]), b)
		}
	}
}

// line takes in a line: number, local and remote address, state, transmit:receive queue, …, all in
// hexadecimal.
func (c *connections) line(i int, l []byte) bool {
	_, rest := kernel.Field(l)
	_, rest = kernel.Field(rest)
	_, rest = kernel.Field(rest)
	state, rest := kernel.Field(rest)
	queues, _ := kernel.Field(rest)
	st, ok := kernel.Hexadecimal(state)
	transmit, receive, _ := bytes.Cut(queues, []byte(":"))
	t, ok1 := kernel.Hexadecimal(transmit)
	r, ok2 := kernel.Hexadecimal(receive)
	if !ok || !ok1 || !ok2 {
		return false
	}
	switch {
	case i >= 2:
		c.queues[i-2][0] += r
		c.queues[i-2][1] += t
	case st < tcpStates:
		c.states[st]++
	}
	return true
}
