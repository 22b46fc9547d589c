package workload

import (
	"strconv"
	"time"
)

// maxPiece is containerd's max_container_log_line_size: a longer line is cut
// here, at a byte, also inside a character.
const maxPiece = 16 << 10

// appendRecord appends the next record of c: four of five are stdout's.
func (w *Writer) appendRecord(dst []byte, c *container) []byte {
	pick := w.rng.Uint64()
	s := &c.streams[0]
	if pick>>32%5 == 0 {
		s = &c.streams[1]
	}
	switch share := pick & 0xffffffff % 1000; {
	case share < 1:
		return w.appendCut(dst, c, s)
	case share < 11:
		return w.appendWhole(dst, s, w.texts.long)
	default:
		return w.appendWhole(dst, s, w.texts.short)
	}
}

// appendWhole appends a record of one line.
func (w *Writer) appendWhole(dst []byte, s *stream, from []text) []byte {
	dst = w.clock.appendNow(dst)
	dst = append(dst, s.full...)
	dst = w.appendBody(dst, s, from)
	return append(dst, '\n')
}

// appendCut appends a record of several pieces.
func (w *Writer) appendCut(dst []byte, c *container, s *stream) []byte {
	rest := w.newCutBody(s)
	for len(rest) > maxPiece {
		dst, rest = w.appendPiece(dst, s, rest)
		if w.left != 0 && w.rng.Uint64()&3 == 0 {
			dst = w.appendWhole(dst, c.other(s), w.texts.short)
		}
	}
	dst, _ = w.appendPiece(dst, s, rest)
	return dst
}

// newCutBody makes a body of several pieces. It is valid until the next one.
func (w *Writer) newCutBody(s *stream) []byte {
	w.body = w.appendBody(w.body[:0], s, w.texts.huge)
	return w.body
}

// appendPiece appends the first piece of body and returns what is left of it.
func (w *Writer) appendPiece(dst []byte, s *stream, body []byte) (out, rest []byte) {
	dst = w.clock.appendNow(dst)
	if len(body) > maxPiece {
		dst = append(dst, s.partial...)
		dst = append(dst, body[:maxPiece]...)
		return append(dst, '\n'), body[maxPiece:]
	}
	dst = append(dst, s.full...)
	dst = append(dst, body...)
	return append(dst, '\n'), nil
}

// other is the stream of c that s is not.
func (c *container) other(s *stream) *stream {
	if s == &c.streams[0] {
		return &c.streams[1]
	}
	return &c.streams[0]
}

// appendBody appends the mark of s's next record and a text.
func (w *Writer) appendBody(dst []byte, s *stream, from []text) []byte {
	w.total++
	if w.left > 0 {
		w.left--
	}
	s.seq++
	dst = append(dst, s.mark...)
	dst = strconv.AppendUint(dst, s.seq, 10)
	dst = append(dst, ' ')
	return from[w.rng.Uint64()%uint64(len(from))].appendTo(dst, w.rng)
}

// clock writes the time as containerd does: RFC 3339, nanoseconds without
// trailing zeros. No two stamps are equal and none is before the last one.
type clock struct {
	last   int64  // ns
	second int64  // that prefix stands for
	prefix []byte // "2026-11-22T17:44:56"
}

func (k *clock) appendNow(dst []byte) []byte {
	k.last = max(time.Now().UnixNano(), k.last+1)
	return k.append(dst, k.last)
}

func (k *clock) append(dst []byte, ns int64) []byte {
	second, frac := ns/1e9, ns%1e9
	if second != k.second || len(k.prefix) == 0 {
		k.second = second
		k.prefix = time.Unix(second, 0).UTC().AppendFormat(k.prefix[:0], "2006-01-02T15:04:05")
	}
	dst = append(dst, k.prefix...)
	if frac > 0 {
		var digits [10]byte
		digits[0] = '.'
		for i := 9; i > 0; i-- {
			digits[i] = byte('0' + frac%10)
			frac /= 10
		}
		n := len(digits)
		for digits[n-1] == '0' {
			n--
		}
		dst = append(dst, digits[:n]...)
	}
	return append(dst, 'Z')
}
