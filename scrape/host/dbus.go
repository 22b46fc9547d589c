package host

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// dbus is a connection to a D-Bus peer, for calls one after the other. It is as much of the D-Bus
// specification as asking systemd for its units takes: a client library is larger than all of
// it together, and costs an allocation for each value.
//
// systemd sends whoever is connected to its private socket a signal for each change of a unit,
// wanted or not, so a connection is made for a scrape and closed.
type dbus struct {
	fd     int // -1: closed
	serial uint32
	out    []byte
	in     []byte // what was received and not taken yet is in[from:to]
	from   int
	to     int
	name   string // whom calls are for; empty on a private socket

	timeout unix.Timeval
	addr    unix.SockaddrUnix
}

const (
	// dbusTimeout is how long one answer may take.
	dbusTimeout = 2 * time.Second
	// maxDBus bounds a message: 10,000 units are 2 MiB. The specification allows 128.
	maxDBus = 16 << 20

	dbusReturn = 2
	dbusError  = 3

	systemdName = "org.freedesktop.systemd1"
)

// Header fields.
const (
	dbusPath        = 1
	dbusInterface   = 2
	dbusMember      = 3
	dbusErrorName   = 4
	dbusReplySerial = 5
	dbusDestination = 6
	dbusSignature   = 8
)

var (
	errDBusMalformed = errors.New("a message that is not of D-Bus")
	errDBusLarge     = fmt.Errorf("a message of more than %d MiB", maxDBus>>20)
	errDBusRefused   = errors.New("the peer refuses this user")
)

func newDBus(path, name string) dbus {
	d := dbus{fd: -1, name: name, timeout: unix.NsecToTimeval(int64(dbusTimeout))}
	d.addr.Name = path
	return d
}

// open connects and says who asks; on a bus it also takes part.
func (d *dbus) open() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	d.fd, d.serial, d.from, d.to = fd, 0, 0, 0
	for _, option := range [...]int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &d.timeout); err != nil {
			return err
		}
	}
	if err := unix.Connect(fd, &d.addr); err != nil {
		return err
	}
	// The name is the user's number in decimal, in hexadecimal digits of its ASCII. BEGIN goes along:
	// systemd does not look at a call that comes in one piece with it until something else comes.
	d.out = append(d.out[:0], "\x00AUTH EXTERNAL "...)
	var digits [20]byte
	for _, c := range strconv.AppendInt(digits[:0], int64(os.Geteuid()), 10) {
		d.out = append(d.out, '3', c)
	}
	d.out = append(d.out, "\r\nBEGIN\r\n"...)
	if err := d.send(); err != nil {
		return err
	}
	l, err := d.line()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(l, []byte("OK")) {
		return errDBusRefused
	}
	if d.name != "" {
		_, err = d.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")
	}
	return err
}

func (d *dbus) close() {
	if d.fd >= 0 {
		unix.Close(d.fd)
		d.fd = -1
	}
}

func (d *dbus) send() error {
	for b := d.out; len(b) > 0; {
		n, err := unix.Write(d.fd, b)
		if err != nil && err != unix.EINTR {
			return err
		}
		b = b[max(n, 0):]
	}
	d.out = d.out[:0]
	return nil
}

// fill receives more; there are at least n bytes in in[from:to] then.
func (d *dbus) fill(n int) error {
	if d.from > 0 && d.from+n > len(d.in) {
		d.to = copy(d.in, d.in[d.from:d.to])
		d.from = 0
	}
	if n > len(d.in) {
		d.in = append(d.in, make([]byte, max(n, 4<<10)-len(d.in))...)
	}
	for d.to-d.from < n {
		r, err := unix.Read(d.fd, d.in[d.to:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return os.ErrDeadlineExceeded
		case err != nil:
			return err
		case r == 0:
			return errors.New("the peer ended the connection")
		default:
			d.to += r
		}
	}
	return nil
}

// line receives a line of the authentication.
func (d *dbus) line() ([]byte, error) {
	for {
		if i := bytes.Index(d.in[d.from:d.to], []byte("\r\n")); i >= 0 {
			l := d.in[d.from : d.from+i]
			d.from += i + 2
			return l, nil
		}
		if d.to-d.from > 1<<10 {
			return nil, errDBusMalformed
		}
		if err := d.fill(d.to - d.from + 1); err != nil {
			return nil, err
		}
	}
}

// call calls a method with arguments that are strings, and returns the body of the answer, valid
// until the next call. What else arrives meanwhile is passed over.
func (d *dbus) call(to, path, iface, member string, args ...string) (dbusReader, error) {
	d.serial++
	d.out = appendCall(d.out, d.serial, to, path, iface, member, args...)
	if err := d.send(); err != nil {
		return dbusReader{}, err
	}
	for {
		m, err := d.receive()
		if err != nil {
			return dbusReader{}, err
		}
		switch {
		case m.reply != d.serial:
		case m.kind == dbusReturn:
			return m.body, nil
		case m.kind == dbusError:
			return dbusReader{}, &dbusFault{string(m.fault), m.body.text()}
		}
	}
}

// dbusFault is an answer that is an error.
type dbusFault struct{ name, text string }

func (e *dbusFault) Error() string { return e.name + ": " + e.text }

// dbusMessage is a message that was received.
type dbusMessage struct {
	kind  byte
	reply uint32 // serial of the call that it answers
	fault []byte // name of the error
	body  dbusReader
}

// receive receives a message.
func (d *dbus) receive() (m dbusMessage, err error) {
	if err := d.fill(16); err != nil {
		return m, err
	}
	size, err := dbusSize(d.in[d.from:d.to])
	if err != nil {
		return m, err
	}
	if err := d.fill(size); err != nil {
		return m, err
	}
	b := d.in[d.from : d.from+size]
	d.from += size
	return parseDBus(b)
}

// dbusSize is the size of the message that begins with these 16 bytes.
func dbusSize(b []byte) (int, error) {
	order, ok := dbusOrder(b[0])
	if !ok || b[3] != 1 {
		return 0, errDBusMalformed
	}
	body, fields := order.Uint32(b[4:]), order.Uint32(b[12:])
	if body > maxDBus || fields > maxDBus {
		return 0, errDBusLarge
	}
	return (16+int(fields)+7)&^7 + int(body), nil
}

func dbusOrder(c byte) (binary.ByteOrder, bool) {
	switch c {
	case 'l':
		return binary.LittleEndian, true
	case 'B':
		return binary.BigEndian, true
	}
	return nil, false
}

// parseDBus reads a whole message.
func parseDBus(b []byte) (m dbusMessage, err error) {
	size, err := dbusSize(b)
	if err != nil {
		return m, err
	}
	order, _ := dbusOrder(b[0])
	m.kind = b[1]
	body := size - int(order.Uint32(b[4:]))
	r := dbusReader{b: b[:16+int(order.Uint32(b[12:]))], at: 16, order: order}
	for r.at < len(r.b) && !r.bad {
		r.align(8)
		field := r.byte()
		switch kind := r.signature(); string(kind) {
		case "u":
			if n := r.uint32(); field == dbusReplySerial {
				m.reply = n
			}
		case "s", "o":
			if s := r.string(); field == dbusErrorName {
				m.fault = s
			}
		case "g":
			r.signature()
		default:
			r.bad = true
		}
	}
	if r.bad {
		return m, errDBusMalformed
	}
	m.body = dbusReader{b: b[body:size], order: order}
	return m, nil
}

// dbusReader takes values out of a message. One that is not there makes it bad, and empty.
type dbusReader struct {
	b     []byte
	at    int
	order binary.ByteOrder
	bad   bool
}

func (r *dbusReader) align(n int) { r.at = (r.at + n - 1) / n * n }

// next takes n bytes; nil where there are fewer.
func (r *dbusReader) next(n int) []byte {
	if r.bad || n < 0 || r.at > len(r.b) || n > len(r.b)-r.at {
		r.bad = true
		return nil
	}
	b := r.b[r.at : r.at+n]
	r.at += n
	return b
}

func (r *dbusReader) byte() byte {
	if b := r.next(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *dbusReader) uint32() uint32 {
	r.align(4)
	if b := r.next(4); b != nil {
		return r.order.Uint32(b)
	}
	return 0
}

// string takes a string or the path of an object; it is a part of the message.
func (r *dbusReader) string() []byte {
	n := r.uint32()
	if n > maxDBus {
		r.bad = true
		return nil
	}
	s := r.next(int(n))
	r.next(1) // NUL
	return s
}

func (r *dbusReader) signature() []byte {
	s := r.next(int(r.byte()))
	r.next(1)
	return s
}

// text is the first value if it is a string, as that of errors is.
func (r dbusReader) text() string { return string(r.string()) }

// appendCall appends a call of a method with arguments that are strings.
func appendCall(dst []byte, serial uint32, to, path, iface, member string, args ...string) []byte {
	start := len(dst)
	align := func(n int) {
		for (len(dst)-start)%n != 0 {
			dst = append(dst, 0)
		}
	}
	text := func(s string) {
		align(4)
		dst = append(binary.LittleEndian.AppendUint32(dst, uint32(len(s))), s...)
		dst = append(dst, 0)
	}
	dst = append(dst, 'l', 1, 0, 1, 0, 0, 0, 0) // little endian, a call, no flags, version 1, length of the body
	dst = binary.LittleEndian.AppendUint32(dst, serial)
	dst = append(dst, 0, 0, 0, 0) // length of the fields
	field := func(code byte, kind byte, value string) {
		if value != "" {
			align(8)
			dst = append(dst, code, 1, kind, 0)
			text(value)
		}
	}
	field(dbusPath, 'o', path)
	field(dbusInterface, 's', iface)
	field(dbusMember, 's', member)
	field(dbusDestination, 's', to)
	if len(args) > 0 {
		align(8)
		dst = append(dst, dbusSignature, 1, 'g', 0, byte(len(args)))
		for range args {
			dst = append(dst, 's')
		}
		dst = append(dst, 0)
	}
	binary.LittleEndian.PutUint32(dst[start+12:], uint32(len(dst)-start-16))
	align(8)
	body := len(dst)
	for i := range args {
		for (len(dst)-body)%4 != 0 {
			dst = append(dst, 0)
		}
		dst = append(binary.LittleEndian.AppendUint32(dst, uint32(len(args[i]))), args[i]...)
		dst = append(dst, 0)
	}
	binary.LittleEndian.PutUint32(dst[start+4:], uint32(len(dst)-body))
	return dst
}
