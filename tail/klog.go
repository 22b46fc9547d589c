package tail

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"stint/export/otlp"
)

var (
	codeFilePath   = []byte("code.file.path")
	codeLineNumber = []byte("code.line.number")
	threadID       = []byte("thread.id")
)

// klog parses the header that klog and glog write (k8s.io/klog/v2, "Log lines have this form"):
//
//	I1122 15:04:05.123456   12345 file.go:123] msg
//
// The time in it has no year and no zone. It is cut off with the rest of the header where the
// line has a time of its own, else the body stays whole.
func (p *bodyParser) klog(rec *otlp.LogRecord) bool {
	b := rec.Body
	if len(b) < len("I1122 15:04:05.123456 1 f:1]") || b[5] != ' ' || b[8] != ':' || b[11] != ':' || b[14] != '.' || b[21] != ' ' {
		return false
	}
	severity := 0
	switch b[0] {
	case 'I':
		severity = 9
	case 'W':
		severity = 13
	case 'E':
		severity = 17
	case 'F':
		severity = 21
	default:
		return false
	}
	for i := 1; i < 21; i++ {
		if b[i]-'0' > 9 && i != 5 && i != 8 && i != 11 && i != 14 {
			return false
		}
	}
	rest := bytes.TrimLeft(b[21:], " ")
	end := bytes.IndexByte(rest, ']')
	space := bytes.IndexByte(rest, ' ')
	if space <= 0 || end < space {
		return false
	}
	thread, place := rest[:space], rest[space+1:end]
	colon := bytes.LastIndexByte(place, ':')
	if colon <= 0 {
		return false
	}
	id, err := strconv.ParseInt(view(thread), 10, 64)
	if err != nil {
		return false
	}
	number, err := strconv.ParseInt(view(place[colon+1:]), 10, 64)
	if err != nil {
		return false
	}

	p.fields, p.out = p.fields[:0], append(p.out[:0], rec.Attrs...)
	p.attr(codeFilePath, place[:colon], 0)
	p.attr(codeLineNumber, nil, number)
	p.attr(threadID, nil, id)
	p.giveWay(rec.Attrs)
	p.compact(0)

	rec.Attrs = p.out
	rec.Severity, rec.SeverityText = severity, view(b[:1])
	if rec.Time != 0 {
		rec.Body = bytes.TrimPrefix(rest[end+1:], []byte(" "))
	}
	return true
}

// attr appends an attribute: text, or number where there is none.
func (p *bodyParser) attr(key, text []byte, number int64) {
	f := field{start: len(p.out), key: key}
	outer := p.openKey(otlp.AttrsOfLogRecord, key)
	out, inner := otlp.OpenLen(p.out, keyValueAny)
	if text != nil {
		out = binary.AppendUvarint(append(out, anyString), uint64(len(text)))
		out = append(out, text...)
	} else {
		out = binary.AppendUvarint(append(out, anyInt), uint64(number))
	}
	p.out = otlp.CloseLen(otlp.CloseLen(out, inner), outer)
	f.end = len(p.out)
	p.fields = append(p.fields, f)
}

// logfmtLevel takes the level of a text that begins like logfmt ("ts=… level=info msg=…") from
// one of its first pairs. The rest stays as it is.
func logfmtLevel(rec *otlp.LogRecord) bool {
	b := rec.Body
	for range 4 {
		eq := 0
		for eq < len(b) && ((b[eq]|0x20)-'a' <= 'z'-'a' || eq > 0 && (b[eq] == '_' || b[eq] == '.')) {
			eq++
		}
		if eq == 0 || eq >= len(b)-1 || eq > 16 || b[eq] != '=' {
			return false
		}
		key, val := b[:eq], b[eq+1:]
		n := bytes.IndexByte(val, ' ')
		if val[0] == '"' {
			if n = 1 + plainLen(val[1:]); n == len(val) || val[n] != '"' { // no escapes: a level or time has none
				return false
			}
			val, b = val[1:n], val[n+1:]
		} else {
			if n < 0 {
				n = len(val)
			}
			val, b = val[:n], val[n:]
		}
		if r, _ := roleOf(key); r == levelRole {
			number := severityOf(val, true)
			if number == 0 {
				return false
			}
			rec.Severity, rec.SeverityText = number, view(val)
			return true
		}
		if len(b) == 0 || b[0] != ' ' {
			return false
		}
		b = b[1:]
	}
	return false
}
