package otlp

import "fmt"

// Count walks an Export*ServiceRequest of signal s and returns how many records it holds: log
// records, metric points or spans. It allocates nothing. The error wraps [ErrMalformed] and
// names the level at which the framing breaks; the records themselves are not looked into,
// but a metric is, down to its points.
func Count(s Signal, request []byte) (int, error) {
	return countLevel(s, request, 0)
}

// The path from a request to its records: resource_logs 1, scope_logs 2, log_records 2, and
// for metrics data 5|7|9|10|11, data_points 1.
var levels = [...]string{"request", "resource", "scope", "metric", "data"}

func countLevel(s Signal, b []byte, level int) (int, error) {
	n := 0
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return 0, fmt.Errorf("%s: %w in a %s message", s, err, levels[level])
		}
		b = rest
		down, leaf := false, false
		switch level {
		case 0:
			down = f.number == 1
		case 1:
			down = f.number == 2
		case 2:
			down, leaf = f.number == 2 && s == Metrics, f.number == 2 && s != Metrics
		case 3:
			down = f.number == dataGauge || f.number == dataSum || f.number == dataHistogram ||
				f.number == dataExpHist || f.number == dataSummary
		case 4:
			leaf = f.number == 1
		}
		if (down || leaf) && f.wire != wireLen {
			return 0, fmt.Errorf("%s: %w: field %d of a %s message is not length-delimited", s, ErrMalformed, f.number, levels[level])
		}
		if leaf {
			n++
		} else if down {
			m, err := countLevel(s, f.val, level+1)
			if err != nil {
				return 0, err
			}
			n += m
		}
	}
	return n, nil
}

// Cut splits a chunk's data after at least one and about n of its records and returns the
// offset and how many records lie before it. It never cuts inside a record; metrics are cut
// between metrics, whose points stay together.
func Cut(s Signal, data []byte, n int) (off, records int, err error) {
	rest := data
	for records < max(n, 1) && len(rest) > 0 {
		f, r, err := nextField(rest)
		if err != nil {
			return 0, 0, err
		}
		if s == Metrics {
			m, err := countLevel(s, f.val, 3)
			if err != nil {
				return 0, 0, err
			}
			records += m
		} else {
			records++
		}
		rest = r
	}
	return len(data) - len(rest), records, nil
}

// PartialSuccess reads an Export*ServiceResponse: how many records the server refused for
// good, and why. All three signals number these fields alike. An empty response is full
// success.
func PartialSuccess(response []byte) (rejected int64, message string, err error) {
	for len(response) > 0 {
		f, rest, err := nextField(response)
		if err != nil {
			return 0, "", err
		}
		response = rest
		if f.number != 1 || f.wire != wireLen {
			continue
		}
		for p := f.val; len(p) > 0; {
			g, rest, err := nextField(p)
			if err != nil {
				return 0, "", err
			}
			p = rest
			switch {
			case g.number == 1 && g.wire == wireVarint:
				rejected = int64(g.num)
			case g.number == 2 && g.wire == wireLen:
				message = string(g.val)
			}
		}
	}
	return rejected, message, nil
}

// AppendPartialSuccess appends the response that [PartialSuccess] reads.
func AppendPartialSuccess(dst []byte, rejected int64, message string) []byte {
	return appendMessage(dst, 1, func(dst []byte) []byte {
		return appendString(appendVarint(dst, 1, uint64(rejected)), 2, message)
	})
}

// StatusMessage reads the message of a google.rpc.Status, the body of an OTLP/HTTP error.
func StatusMessage(status []byte) (string, error) {
	for len(status) > 0 {
		f, rest, err := nextField(status)
		if err != nil {
			return "", err
		}
		if status = rest; f.number == 2 && f.wire == wireLen {
			return string(f.val), nil
		}
	}
	return "", nil
}

// LogBodies calls f with the body of each log record of an ExportLogsServiceRequest whose body
// is a string. The bytes are a part of the request.
func LogBodies(request []byte, f func(body []byte)) error {
	return eachLen(request, 1, func(resourceLogs []byte) error {
		return eachLen(resourceLogs, 2, func(scopeLogs []byte) error {
			return eachLen(scopeLogs, 2, func(record []byte) error {
				return eachLen(record, 5, func(value []byte) error {
					return eachLen(value, 1, func(s []byte) error { f(s); return nil })
				})
			})
		})
	})
}

// eachLen calls f with each length-delimited field of the number in a message.
func eachLen(message []byte, number int, f func([]byte) error) error {
	for len(message) > 0 {
		fd, rest, err := nextField(message)
		if err != nil {
			return err
		}
		message = rest
		if fd.number == number && fd.wire == wireLen {
			if err := f(fd.val); err != nil {
				return err
			}
		}
	}
	return nil
}

// Times returns where the points of encoded metrics fields of ScopeMetrics hold their time, 8
// bytes in little endian: whoever sends the same points again patches it there.
func Times(metrics []byte) ([]int, error) { return timesLevel(nil, metrics, 0, 2) }

func timesLevel(at []int, b []byte, base, level int) ([]int, error) {
	whole := len(b)
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return nil, err
		}
		b = rest
		end := base + whole - len(rest)
		down := false
		switch level {
		case 2:
			down = f.number == 2
		case 3:
			down = f.number == dataGauge || f.number == dataSum || f.number == dataHistogram || f.number == dataSummary
		case 4:
			down = f.number == 1
		case 5:
			if f.number == 3 && f.wire == wireFixed64 { // of every kind of point
				at = append(at, end-8)
			}
		}
		if down && f.wire == wireLen {
			if at, err = timesLevel(at, f.val, end-len(f.val), level+1); err != nil {
				return nil, err
			}
		}
	}
	return at, nil
}
