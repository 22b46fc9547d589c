package elastic

import (
	"fmt"
	"strings"
	"time"
)

// clock writes times, those of the same second, hour or day from memory: time.AppendFormat would be a
// fifth of the cost of a document.
type clock struct {
	second int64 // of text; 0 = none
	text   []byte
	hour   int64 // of date; 0 = none
	date   []byte
}

// append appends a time as a JSON string: "2026-11-27T00:00:00.000000000Z".
func (c *clock) append(dst []byte, ns uint64) []byte {
	if s := int64(ns / 1e9); s != c.second || c.text == nil {
		c.second = s
		c.text = time.Unix(s, 0).UTC().AppendFormat(c.text[:0], `"2006-01-02T15:04:05.`)
	}
	dst = append(dst, c.text...)
	n := ns % 1e9
	dst = append(dst, "000000000Z\""...)
	for i := len(dst) - 3; n > 0; i-- {
		dst[i] = '0' + byte(n%10)
		n /= 10
	}
	return dst
}

// appendDate appends the UTC date of a time in a format that [CheckDate] found good.
func (c *clock) appendDate(dst []byte, format string, ns uint64) []byte {
	if h := int64(ns / 3600e9); h != c.hour || c.date == nil {
		c.hour = h
		c.date = strftime(c.date[:0], format, time.Unix(h*3600, 0).UTC())
	}
	return append(dst, c.date...)
}

// dateVerbs are what may stand after % in a date format, with what it becomes in Go's.
var dateVerbs = map[byte]string{'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'H': "15", 'j': "002"}

// strftime appends t. %G and %V are the year and number of the ISO week.
func strftime(dst []byte, format string, t time.Time) []byte {
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			dst = append(dst, format[i])
			continue
		}
		switch i++; format[i] {
		case 'G':
			year, _ := t.ISOWeek()
			dst = fmt.Appendf(dst, "%04d", year)
		case 'V':
			_, week := t.ISOWeek()
			dst = fmt.Appendf(dst, "%02d", week)
		case '%': // no index may hold one, so CheckDate lets none through
		default:
			dst = t.AppendFormat(dst, dateVerbs[format[i]])
		}
	}
	return dst
}

// CheckDate says what is wrong with a date format for an index, in the way of strftime.
func CheckDate(format string) error {
	const known = "%Y %y %m %d %H %j %G %V"
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		if i++; i == len(format) {
			return fmt.Errorf("%q ends in a single %%; use %s", format, known)
		}
		if !strings.Contains(known, format[i-1:i+1]) {
			return fmt.Errorf("%q holds %s; use %s", format, format[i-1:i+1], known)
		}
	}
	if err := CheckIndex("x" + string(strftime(nil, format, time.Unix(0, 0).UTC()))); err != nil {
		return fmt.Errorf("%q gives no name of an index: %w", format, err)
	}
	return nil
}
