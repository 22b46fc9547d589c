package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"
)

// A segment is a file of records, one after the other, little endian:
//
//	magic    uint32   begins a record; what a reader looks for behind damage
//	length   uint32   bytes of the payload
//	records  uint32   of telemetry in it, so that a loss can be told in records
//	signal   uint32
//	time     int64    unix ms, when it was written
//	check    uint32   CRC-32C of the header up to here and of the payload
//	payload
const (
	magic      = 0x4c505453 // "STPL"
	headerLen  = 28
	maxPayload = 128 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Entry is what is written and read: one export request.
type Entry struct {
	Signal  uint32
	Records int // of telemetry
	Time    time.Time
	Request [][]byte // in pieces; one when it was read
	Done    int      // of Records, from the front: acknowledged already

	at     place
	length int64 // of its record on disk
}

// Is says whether e and o are the same entry, read or written at different times.
func (e *Entry) Is(o *Entry) bool { return e.at == o.at }

// place is where an entry lies.
type place struct {
	segment uint64
	offset  int64
}

// size is what the entry takes on disk.
func (e *Entry) size() int64 {
	n := int64(headerLen)
	for _, p := range e.Request {
		n += int64(len(p))
	}
	return n
}

// appendHeader appends the header of the entry's record.
func appendHeader(dst []byte, e *Entry) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, magic)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.size()-headerLen))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.Records))
	dst = binary.LittleEndian.AppendUint32(dst, e.Signal)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Time.UnixMilli()))
	sum := crc32.Update(0, castagnoli, dst[start:])
	for _, p := range e.Request {
		sum = crc32.Update(sum, castagnoli, p)
	}
	return binary.LittleEndian.AppendUint32(dst, sum)
}

// parseHeader reads a header; ok is false if no record begins here. Its sum is not looked at.
func parseHeader(b []byte) (e Entry, length int, ok bool) {
	if len(b) < headerLen || binary.LittleEndian.Uint32(b) != magic {
		return e, 0, false
	}
	n := binary.LittleEndian.Uint32(b[4:])
	e.Records = int(binary.LittleEndian.Uint32(b[8:]))
	e.Signal = binary.LittleEndian.Uint32(b[12:])
	e.Time = time.UnixMilli(int64(binary.LittleEndian.Uint64(b[16:])))
	return e, int(n), n <= maxPayload
}

var errDamaged = errors.New("damaged")

// readRecord reads the record at off of a segment of that size. The error is errDamaged when no
// whole record stands there.
func readRecord(r io.ReaderAt, off, size int64) (e Entry, next int64, err error) {
	var head [headerLen]byte
	if size-off < headerLen {
		return e, 0, errDamaged
	}
	if _, err := r.ReadAt(head[:], off); err != nil {
		return e, 0, err
	}
	e, n, ok := parseHeader(head[:])
	if !ok || int64(n) > size-off-headerLen {
		return e, 0, errDamaged
	}
	payload := make([]byte, n)
	if _, err := r.ReadAt(payload, off+headerLen); err != nil && n > 0 {
		return e, 0, err
	}
	sum := crc32.Update(crc32.Update(0, castagnoli, head[:headerLen-4]), castagnoli, payload)
	if sum != binary.LittleEndian.Uint32(head[headerLen-4:]) {
		return e, 0, errDamaged
	}
	e.Request, e.length = [][]byte{payload}, headerLen+int64(n)
	return e, off + headerLen + int64(n), nil
}

// nextRecord finds the first whole record at off or behind it; at is where it begins. What lies
// between is damaged. io.EOF: there is none.
func nextRecord(r io.ReaderAt, off, size int64) (e Entry, at, next int64, err error) {
	for at = off; ; {
		if at >= size {
			return e, size, size, io.EOF
		}
		e, next, err := readRecord(r, at, size)
		if !errors.Is(err, errDamaged) {
			return e, at, next, err
		}
		if at, err = findMagic(r, at+1, size); err != nil {
			return e, at, at, err
		}
	}
}

// findMagic is the next offset from off on where a record may begin, or size.
func findMagic(r io.ReaderAt, off, size int64) (int64, error) {
	want := binary.LittleEndian.AppendUint32(nil, magic)
	buf := make([]byte, 64<<10)
	for off < size {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return off, err
		}
		if i := bytes.Index(buf[:n], want); i >= 0 {
			return off + int64(i), nil
		}
		if n < len(want) {
			break
		}
		off += int64(n - len(want) + 1)
	}
	return size, nil
}

// segment is one file.
type segment struct {
	id      uint64
	size    int64 // bytes of whole records
	records int64 // of telemetry, from the headers
}

// Suffix is what the names of segments end in.
const Suffix = ".spool"

func name(id uint64) string { return fmt.Sprintf("%016x", id) + Suffix }

// survey measures a segment that was written before this process, and cuts a torn tail off: what
// was being written when the process or the machine died, and nobody was told is safe. Such a tail
// is in the last segment only, which is read as a whole; of the others the headers are enough.
func survey(path string, id uint64, last bool) (segment, error) {
	s := segment{id: id}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return s, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return s, err
	}
	var head [headerLen]byte
	for at := int64(0); ; {
		if !last {
			if _, err := f.ReadAt(head[:], at); err != nil && !errors.Is(err, io.EOF) {
				return s, err
			} else if e, n, ok := parseHeader(head[:]); err == nil && ok && e.Records <= n /* a record has a byte */ && int64(n) <= st.Size()-at-headerLen {
				s.records += int64(e.Records)
				at += headerLen + int64(n)
				s.size = at
				continue
			}
		}
		e, _, next, err := nextRecord(f, at, st.Size())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s, err
		}
		s.records += int64(e.Records)
		s.size, at = next, next
	}
	if s.size < st.Size() {
		err = f.Truncate(s.size)
	}
	return s, err
}
