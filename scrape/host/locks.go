package host

import (
	"bytes"
	"fmt"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

// maxLockKinds bounds the points of locks: file systems by kinds of locks.
const maxLockKinds = 1024

var errManyLocks = fmt.Errorf("/proc/locks: more than %d kinds of locks and devices; the others are left out", maxLockKinds)

// locks counts the lines of /proc/locks by device and kind, as in
//
//	1: POSIX  ADVISORY  WRITE 1234 08:01:131 0 EOF
type locks struct {
	kernel.File
	kinds table[lockKind]
	key   []byte
}

type lockKind struct {
	count uint64
	attrs []byte
}

func (s *locks) scrape(p *series.Points) error {
	b, err := s.ReadIfThere()
	s.kinds.begin()
	for _, k := range s.kinds.list {
		k.count = 0
	}
	for len(b) > 0 {
		var line []byte
		line, b = kernel.Line(b)
		var l lock
		waits, ok := l.parse(line)
		switch {
		case waits:
			continue
		case !ok:
			err = kernel.Malformed(s.Path, line)
			continue
		}
		s.key = append(append(append(append(s.key[:0], l.mechanism...), ' '), l.mode...), ' ')
		s.key = append(append(append(s.key, l.kind...), ' '), l.device...)
		if s.kinds.seen >= maxLockKinds && s.kinds.byName[string(s.key)] == nil {
			err = errManyLocks
			continue
		}
		k, fresh := s.kinds.get(s.key)
		if fresh {
			k.attrs = l.attributes()
		}
		k.count++
	}
	s.kinds.sweep()
	for _, k := range s.kinds.list {
		p.Int(filesystemLocks, k.attrs, k.count)
	}
	return err
}

// lock is a line of /proc/locks; all are parts of it.
type lock struct{ mechanism, mode, kind, device []byte }

// parse reads a line; waits tells that it is of one who waits for the lock above.
func (l *lock) parse(line []byte) (waits, ok bool) {
	_, rest := kernel.Field(line) // number
	l.mechanism, rest = kernel.Field(rest)
	if string(l.mechanism) == "->" {
		return true, false
	}
	l.mode, rest = kernel.Field(rest)
	l.kind, rest = kernel.Field(rest)
	_, rest = kernel.Field(rest) // process, -1 of locks of open files
	place, _ := kernel.Field(rest)
	at := bytes.LastIndexByte(place, ':') // before the inode
	if at < 0 {
		return false, false
	}
	l.device = place[:at]
	major, minor, ok := bytes.Cut(l.device, []byte(":"))
	_, ok1 := kernel.Hexadecimal(major)
	_, ok2 := kernel.Hexadecimal(minor)
	return false, ok && ok1 && ok2
}

func (l *lock) attributes() []byte {
	major, minor, _ := bytes.Cut(l.device, []byte(":"))
	a, _ := kernel.Hexadecimal(major)
	b, _ := kernel.Hexadecimal(minor)
	kvs := attr("system.device", fmt.Sprintf("%d:%d", a, b), "file.lock.type", string(bytes.ToLower(l.kind)), "file.lock.mechanism", string(bytes.ToLower(l.mechanism)))
	if string(l.mode) == "ADVISORY" || string(l.mode) == "MANDATORY" {
		kvs = append(kvs, otlp.Attr("file.lock.mode", string(bytes.ToLower(l.mode))))
	}
	return series.Attributes(kvs...)
}
