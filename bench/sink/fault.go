package sink

import (
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Fault says how the sink misbehaves and to which requests. A request is
// treated so when it meets every condition that is given; without any, all are.
// What is answered with a status is not counted as received.
type Fault struct {
	Refuse     bool          // close each connection as soon as it is accepted
	Delay      time.Duration // wait before the answer
	Status     int           // answer with this HTTP status, or its gRPC code; 0 = as usual
	RetryAfter time.Duration // goes with 429 and 503; 0 = say nothing

	First    int64         // only the first N requests (or connections, for Refuse)
	From, To time.Duration // only from From to To after the start; To 0 = without end
	Fraction float64       // only this share of them, by chance; 0 = all
}

// faults applies a Fault.
type faults struct {
	Fault
	start time.Time
	seen  atomic.Int64
}

// hits reports whether the next request, or connection, is to be treated so.
func (f *faults) hits() bool {
	if !f.Refuse && f.Delay == 0 && f.Status == 0 {
		return false
	}
	n := f.seen.Add(1)
	if f.First > 0 && n > f.First {
		return false
	}
	age := time.Since(f.start)
	if age < f.From || f.To > 0 && age >= f.To {
		return false
	}
	return f.Fraction == 0 || rand.Float64() < f.Fraction
}

// grpcError is the answer to a gRPC call.
func (f *faults) grpcError() error {
	code := codes.Unknown
	switch f.Status {
	case http.StatusBadRequest:
		code = codes.InvalidArgument
	case http.StatusUnauthorized:
		code = codes.Unauthenticated
	case http.StatusForbidden:
		code = codes.PermissionDenied
	case http.StatusNotFound:
		code = codes.Unimplemented
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		code = codes.ResourceExhausted
	case http.StatusInternalServerError:
		code = codes.Internal
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		code = codes.Unavailable
	case http.StatusGatewayTimeout:
		code = codes.DeadlineExceeded
	}
	s := status.New(code, "told to answer "+strconv.Itoa(f.Status))
	if f.RetryAfter > 0 {
		if with, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)}); err == nil {
			s = with
		}
	}
	return s.Err()
}

// refusing closes connections as they come.
type refusing struct {
	net.Listener
	faults *faults
}

func (l refusing) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || !l.faults.Refuse || !l.faults.hits() {
			return conn, err
		}
		conn.Close()
	}
}
