package host

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stint/export/otlp"
)

// manager is a peer at a socket that answers as systemd does. Its list of units is one that
// systemd 252 gave.
type manager struct {
	bus      bool   // wants Hello, and calls to be for systemd
	answer   []byte // sent in place of all below, where it is not nil
	greeting string

	mu       sync.Mutex // guards everything below
	units    []byte     // the answer to ListUnits
	restarts int        // -1: there is no such property
}

// set changes what it answers from now on.
func (m *manager) set(units []byte, restarts int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.units, m.restarts = units, restarts
}

func (m *manager) get() (units []byte, restarts int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.units, m.restarts
}

func newManager(t testing.TB) *manager {
	b, err := os.ReadFile("testdata/dbus/units-252")
	if err != nil {
		t.Fatal(err)
	}
	return &manager{units: b, restarts: 5, greeting: "OK 0123456789abcdef0123456789abcdef\r\n"}
}

// serve answers one connection.
func (m *manager) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	auth, _ := r.ReadString('\n')
	if want := fmt.Sprintf("\x00AUTH EXTERNAL %x\r\n", fmt.Sprint(os.Geteuid())); auth != want {
		fmt.Fprintf(c, "ERROR %q\r\n", auth)
		return
	}
	io.WriteString(c, m.greeting)
	if begin, _ := r.ReadString('\n'); begin != "BEGIN\r\n" {
		return
	}
	greeted := !m.bus
	for {
		head, err := r.Peek(16)
		if err != nil {
			return
		}
		size, err := dbusSize(head)
		if err != nil {
			return
		}
		call := make([]byte, size)
		if _, err := io.ReadFull(r, call); err != nil {
			return
		}
		units, restarts := m.get()
		serial := binary.LittleEndian.Uint32(call[8:])
		has := func(s string) bool { return bytes.Contains(call, append([]byte(s), 0)) }
		// A signal that nobody asked for.
		c.Write(message(4, 0, "", nil))
		switch {
		case m.answer != nil:
			c.Write(m.answer)
			if len(m.answer) > 0 {
				return
			}
		case has("Hello"):
			greeted = true
			c.Write(message(dbusReturn, serial, "", []byte("\x04\x00\x00\x00:1.7\x00")))
		case !greeted || m.bus && !has(systemdName):
			c.Write(message(dbusError, serial, "org.freedesktop.DBus.Error.AccessDenied", nil))
		case has("ListUnits"):
			b := bytes.Clone(units)
			at := bytes.Index(b, []byte{dbusReplySerial, 1, 'u', 0})
			binary.LittleEndian.PutUint32(b[at+4:], serial)
			c.Write(b)
		case has("NRestarts") && restarts >= 0:
			body := append([]byte("\x01u\x00\x00"), 0, 0, 0, 0)
			binary.LittleEndian.PutUint32(body[4:], uint32(restarts))
			c.Write(message(dbusReturn, serial, "", body))
		default:
			c.Write(message(dbusError, serial, "org.freedesktop.DBus.Error.UnknownProperty", []byte("\x02\x00\x00\x00no\x00")))
		}
	}
}

// message is an answer, or with kind 4 a signal.
func message(kind byte, reply uint32, fault string, body []byte) []byte {
	b := []byte{'l', kind, 1, 1, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(body)))
	b = binary.LittleEndian.AppendUint32(append(b, dbusReplySerial, 1, 'u', 0), reply)
	if fault != "" {
		b = binary.LittleEndian.AppendUint32(append(b, dbusErrorName, 1, 's', 0), uint32(len(fault)))
		b = append(append(b, fault...), 0)
	}
	binary.LittleEndian.PutUint32(b[12:], uint32(len(b)-16))
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return append(b, body...)
}

// listen serves at a socket below a root until the test ends.
func (m *manager) listen(t testing.TB, root, path string) {
	t.Helper()
	path = root + path
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.serve(c)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

const privateSocket, busSocket = "/run/systemd/private", "/run/dbus/system_bus_socket"

func systemdHost(t testing.TB, root string, units ...string) *Host {
	h := New(only(func(c *Config) { c.Systemd = Systemd{Enabled: true, Units: units} }), root, "", "", nil, 0, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { h.Close() })
	return h
}

func unitAttrs(unit, state string) string {
	return "systemd.unit.name=" + unit + " systemd.unit.state=" + state
}

// What is sent of the units of systemd 252, at its private socket and on a bus.
func TestSystemdUnits(t *testing.T) {
	for socket, bus := range map[string]bool{privateSocket: false, busSocket: true} {
		root := t.TempDir()
		m := newManager(t)
		m.bus = bus
		m.listen(t, root, socket)
		failed := scrapeAll(t, systemdHost(t, root), tick)
		if len(failed.errs) > 0 || len(failed.metrics) != 2 || len(pointsOf(failed.metrics[0])) != 2 || len(pointsOf(failed.metrics[1])) != 2 {
			t.Fatalf("%s: want a state and a count of the two units that failed\n%s", socket, failed.text())
		}
		if got := failed.value(t, "systemd.unit.state", unitAttrs("stint-failed.service", "failed")); got != "1" {
			t.Errorf("%s: failed is %s", socket, got)
		}
		all := scrapeAll(t, systemdHost(t, root, "stint*", "gpg-agent.*"), tick)
		for _, tc := range [][2]string{
			{unitAttrs("stint-works.service", "active"), "1"}, {unitAttrs("stint-works.service", "failed"), "0"},
			{unitAttrs("stint-broken.service", "failed"), "1"}, {unitAttrs("stint-broken.service", "active"), "0"},
		} {
			if got := all.value(t, "systemd.unit.state", tc[0]); got != tc[1] {
				t.Errorf("%s: %s is %s, want %s", socket, tc[0], got, tc[1])
			}
		}
		if got := all.value(t, "systemd.unit.restart.count", "systemd.unit.name=stint-broken.service"); got != "5" {
			t.Errorf("%s: restarts %s", socket, got)
		}
		if p := all.point("systemd.unit.state", unitAttrs("basic.target", "active")); p != nil {
			t.Errorf("%s: a unit that was not asked for is sent", socket)
		}
	}
}

// A unit that recovers says so, as long as it is loaded; a count that begins anew has a new start.
func TestSystemdChanges(t *testing.T) {
	root := t.TempDir()
	m := newManager(t)
	m.listen(t, root, privateSocket)
	h := systemdHost(t, root)
	restarts := func(f *found) (uint64, string) {
		p := f.point("systemd.unit.restart.count", "systemd.unit.name=stint-failed.service")
		if p == nil {
			t.Fatalf("no count in\n%s", f.text())
		}
		return p.StartTimeUnixNano, valueText(p)
	}
	scrapeAll(t, h, tick)
	units, _ := m.get()
	units = bytes.ReplaceAll(units, []byte("\x06\x00\x00\x00failed\x00"), []byte("\x06\x00\x00\x00active\x00"))
	m.set(units, 2)
	f := scrapeAll(t, h, tick+1e10)
	if got := f.value(t, "systemd.unit.state", unitAttrs("stint-failed.service", "failed")); got != "0" {
		t.Errorf("after it recovered failed is %s", got)
	}
	if start, n := restarts(f); start != tick || n != "2" {
		t.Errorf("%s restarts since %d, want 2 since %d", n, start, tick)
	}
	m.set(units, -1)
	if f := scrapeAll(t, h, tick+2e10); len(f.errs) > 0 || f.point("systemd.unit.restart.count", "systemd.unit.name=stint-failed.service") != nil {
		t.Errorf("without the property:\n%s", f.text())
	}
}

// A manager that cannot be asked is an error that names the socket, in time, and nothing else.
func TestSystemdFaults(t *testing.T) {
	whole := newManager(t).units
	for name, change := range map[string]func(*manager){
		"refused":   func(m *manager) { m.greeting = "REJECTED EXTERNAL\r\n" },
		"no line":   func(m *manager) { m.greeting = strings.Repeat("x", 2<<10) },
		"silent":    func(m *manager) { m.answer = []byte{} },
		"an error":  func(m *manager) { m.bus = true },
		"cut off":   func(m *manager) { m.answer = whole[:len(whole)/2] },
		"garbage":   func(m *manager) { m.answer = bytes.Repeat([]byte("garbage!"), 100) },
		"too large": func(m *manager) { m.answer = []byte("l\x02\x01\x01\xff\xff\xff\x7f\x01\x00\x00\x00\x00\x00\x00\x00") },
		"short body": func(m *manager) {
			m.set(message(dbusReturn, 0, "", []byte("\x40\x00\x00\x00\x00\x00\x00\x00\x40\x00\x00\x00short")), 0)
		},
	} {
		root := t.TempDir()
		m := newManager(t)
		change(m)
		m.listen(t, root, privateSocket)
		h := systemdHost(t, root)
		for i := range scraperOf[*systemd](h).buses {
			scraperOf[*systemd](h).buses[i].timeout = unix.NsecToTimeval(int64(50 * time.Millisecond))
		}
		f := scrapeAll(t, h, tick)
		if err := f.errs["systemd"]; err == nil || len(f.metrics) > 0 || name != "short body" && !strings.Contains(err.Error(), root+privateSocket) {
			t.Errorf("%s: %v\n%s", name, f.errs["systemd"], f.text())
		}
	}
	f := scrapeAll(t, systemdHost(t, t.TempDir()), tick)
	if err := f.errs["systemd"]; err == nil || !strings.Contains(err.Error(), privateSocket) || !strings.Contains(err.Error(), busSocket) {
		t.Errorf("without systemd: %v", err)
	}
}

// A scrape in which no unit came or went allocates nothing. The manager is another process.
func TestSystemdAllocatesNothing(t *testing.T) {
	if root := os.Getenv("STINT_TEST_SYSTEMD"); root != "" {
		newManager(t).listen(t, root, privateSocket)
		fmt.Println("ready")
		io.Copy(io.Discard, os.Stdin)
		return
	}
	root := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSystemdAllocatesNothing$")
	cmd.Env = append(os.Environ(), "STINT_TEST_SYSTEMD="+root)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the manager said %q, %v", line, err)
	}
	if err := os.CopyFS(root, os.DirFS("testdata/server")); err != nil {
		t.Fatal(err)
	}
	h := systemdHost(t, root, "*")
	points := 0
	hand := func(_ *otlp.Group, _ []byte, n int) { points += n }
	scrape := func() {
		points = 0
		if err := h.Scrape(t.Context(), 0, time.Unix(0, int64(tick)), hand); err != nil {
			t.Fatal(err)
		}
	}
	scrape()
	if n := testing.AllocsPerRun(20, scrape); n != 0 || points < 100 {
		t.Errorf("%v allocations in a scrape of %d points", n, points)
	}
}

// What is read of a message lies in it, a call that is written is read, and lists of units end.
func FuzzDBus(f *testing.F) {
	units, err := os.ReadFile("testdata/dbus/units-252")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(units)
	f.Add(units[:400])
	f.Add(message(dbusError, 7, "a.b", []byte("\x02\x00\x00\x00no\x00")))
	f.Add(appendCall(nil, 1, "a.b", "/a", "c.d", "E", "f", "ghij"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 16 {
			return
		}
		size, err := dbusSize(b)
		if err != nil || size > len(b) {
			return
		}
		m, err := parseDBus(b[:size])
		if err != nil {
			return
		}
		if !bytes.Contains(b, m.fault) || len(m.body.b) != size-(16+int(m.body.order.Uint32(b[12:]))+7)&^7 {
			t.Errorf("%q: fault %q, body of %d", b, m.fault, len(m.body.b))
		}
		s := systemd{cfg: Systemd{Units: []string{"*"}}}
		body := m.body
		if err := s.list(&body); err == nil {
			for _, u := range s.units.list {
				if !bytes.Contains(b, []byte(u.object)) {
					t.Errorf("%q: object %q", b, u.object)
				}
			}
		}
		call := appendCall([]byte("before"), 3, "a.b", "/c", "d.e", string(m.fault), "g")[6:]
		if n, err := dbusSize(call); err != nil || n != len(call) {
			t.Errorf("a call of %d bytes has the size %d, %v", len(call), n, err)
		}
	})
}
