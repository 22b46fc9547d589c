package sink

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Signal is one of the three kinds of OTLP export request.
type Signal int

// The signals.
const (
	Logs Signal = iota
	Metrics
	Traces
)

// tally is what one request holds.
type tally struct {
	records   int64 // log records, data points or spans
	bodyBytes int64 // of string bodies of log records
}

var errMalformed = errors.New("malformed protobuf")

// count walks an export request with protowire, which has nothing in common
// with stint's own walk. Each string body of a log record is handed to body,
// if that is set; it is valid during the call.
func count(signal Signal, request []byte, body func([]byte)) (tally, error) {
	var t tally
	var err error
	switch signal {
	case Logs: // ResourceLogs 1, ScopeLogs 2, LogRecord 2
		err = each(request, 1, func(resource []byte) error {
			return each(resource, 2, func(scope []byte) error {
				return each(scope, 2, func(record []byte) error {
					t.records++
					return eachBody(record, func(text []byte) {
						t.bodyBytes += int64(len(text))
						if body != nil {
							body(text)
						}
					})
				})
			})
		})
	case Metrics: // ResourceMetrics 1, ScopeMetrics 2, Metric 2
		err = each(request, 1, func(resource []byte) error {
			return each(resource, 2, func(scope []byte) error {
				return each(scope, 2, func(metric []byte) error {
					n, err := countPoints(metric)
					t.records += n
					return err
				})
			})
		})
	case Traces: // ResourceSpans 1, ScopeSpans 2, Span 2
		err = each(request, 1, func(resource []byte) error {
			return each(resource, 2, func(scope []byte) error {
				return each(scope, 2, func([]byte) error {
					t.records++
					return nil
				})
			})
		})
	}
	return t, err
}

// eachBody calls f with the string body of a record: body 5, string_value 1.
func eachBody(record []byte, f func([]byte)) error {
	return each(record, 5, func(value []byte) error {
		return each(value, 1, func(text []byte) error {
			f(text)
			return nil
		})
	})
}

// countPoints counts data points: gauge 5, sum 7, histogram 9, exponential
// histogram 10 and summary 11 all keep them in field 1.
func countPoints(metric []byte) (int64, error) {
	n := int64(0)
	for _, data := range [...]protowire.Number{5, 7, 9, 10, 11} {
		err := each(metric, data, func(points []byte) error {
			return each(points, 1, func([]byte) error {
				n++
				return nil
			})
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// each calls f with every length-delimited field of that number in message.
func each(message []byte, number protowire.Number, f func([]byte) error) error {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		message = message[n:]
		if num != number || typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, message); n < 0 {
				return fmt.Errorf("%w: field %d: %w", errMalformed, num, protowire.ParseError(n))
			}
			message = message[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(message)
		if n < 0 {
			return fmt.Errorf("%w: field %d: %w", errMalformed, num, protowire.ParseError(n))
		}
		if err := f(value); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}
