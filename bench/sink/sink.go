// Package sink is an OTLP receiver that counts and forgets. It stands at the
// far end of the benchmarks: cheap, independent of stint's own encoding, and
// able to misbehave.
package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"stint/agent/workload"
)

// maxRequestBytes is four times what stint sends at most.
const maxRequestBytes = 64 << 20

// Config says where the sink listens and what it does.
type Config struct {
	GRPC, HTTP, Control string // addresses; port 0 = any free one
	Check               bool   // account for the marks in log bodies, see workload.Sequences
	Store               string // file for the unpacked requests with logs, one after the other; "" = none
	Rate                int    // records of a second that it can take; 0 = as many as come
	Fault               Fault
}

// Addresses are what the sink listens at.
type Addresses struct {
	GRPC    string `json:"grpc"`
	HTTP    string `json:"http"`
	Control string `json:"control"`
}

// Counters is the reply to GET /counters on the control address.
type Counters struct {
	Requests  int64 `json:"requests"`  // accepted
	Refused   int64 `json:"refused"`   // answered with the status of the fault
	Malformed int64 `json:"malformed"` // not protobuf, or not the encoding that they claim

	LogRecords   int64 `json:"log_records"`
	MetricPoints int64 `json:"metric_points"`
	Spans        int64 `json:"spans"`
	Bytes        int64 `json:"bytes"`          // of accepted requests, unpacked
	WireBytes    int64 `json:"wire_bytes"`     // of those, as they came
	LogBodyBytes int64 `json:"log_body_bytes"` // of string bodies

	workload.Totals                // all zero without Config.Check
	Gaps            []workload.Gap `json:"gaps,omitempty"` // the first ten

	FirstArrival time.Time `json:"first_arrival,omitzero"` // of an accepted request
	LastArrival  time.Time `json:"last_arrival,omitzero"`
}

// Server is the sink.
type Server struct {
	cfg       Config
	faults    faults
	listeners [3]net.Listener // gRPC, HTTP, control
	sequences workload.Sequences
	store     *os.File // nil = none

	paceMu sync.Mutex
	busy   time.Time // until then it has work, with Config.Rate

	requests, refused, malformed atomic.Int64
	records                      [3]atomic.Int64 // by Signal
	bytes, wireBytes, bodyBytes  atomic.Int64
	first, last                  atomic.Int64 // unix ns; 0 = none yet
}

// New opens the ports and the store; Run serves them.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, faults: faults{Fault: cfg.Fault, start: time.Now()}}
	for i, address := range [...]string{cfg.GRPC, cfg.HTTP, cfg.Control} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			for _, open := range s.listeners[:i] {
				open.Close()
			}
			return nil, fmt.Errorf("listen: %w", err)
		}
		s.listeners[i] = l
	}
	if cfg.Store != "" {
		var err error
		if s.store, err = os.Create(cfg.Store); err != nil {
			for _, open := range s.listeners {
				open.Close()
			}
			return nil, fmt.Errorf("store: %w", err)
		}
	}
	return s, nil
}

// Addresses tells the real ports.
func (s *Server) Addresses() Addresses {
	return Addresses{
		GRPC:    s.listeners[0].Addr().String(),
		HTTP:    s.listeners[1].Addr().String(),
		Control: s.listeners[2].Addr().String(),
	}
}

// Run serves until ctx ends, then lets requests end for a second.
func (s *Server) Run(ctx context.Context) error {
	grpcServer := s.newGRPC()
	httpServer := &http.Server{Handler: s.otlpHandler(), ReadHeaderTimeout: 10 * time.Second}
	control := &http.Server{Handler: s.controlHandler(), ReadHeaderTimeout: 10 * time.Second}

	errs := make(chan error, len(s.listeners))
	var serving sync.WaitGroup
	serving.Go(func() { errs <- grpcServer.Serve(refusing{s.listeners[0], &s.faults}) })
	serving.Go(func() { errs <- httpServer.Serve(refusing{s.listeners[1], &s.faults}) })
	serving.Go(func() { errs <- control.Serve(s.listeners[2]) })

	var err error
	select {
	case <-ctx.Done():
	case err = <-errs:
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	stopHard := context.AfterFunc(grace, grpcServer.Stop)
	defer stopHard()
	if httpServer.Shutdown(grace) != nil {
		httpServer.Close()
	}
	if control.Shutdown(grace) != nil {
		control.Close()
	}
	grpcServer.GracefulStop()
	serving.Wait()
	if s.store != nil {
		s.store.Close()
	}
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Counters tells what has come so far.
func (s *Server) Counters() Counters {
	c := Counters{
		Requests: s.requests.Load(), Refused: s.refused.Load(), Malformed: s.malformed.Load(),
		LogRecords: s.records[Logs].Load(), MetricPoints: s.records[Metrics].Load(), Spans: s.records[Traces].Load(),
		Bytes: s.bytes.Load(), WireBytes: s.wireBytes.Load(), LogBodyBytes: s.bodyBytes.Load(),
		Totals: s.sequences.Totals(), Gaps: s.sequences.Gaps(10),
	}
	if ns := s.first.Load(); ns > 0 {
		c.FirstArrival, c.LastArrival = time.Unix(0, ns), time.Unix(0, s.last.Load())
	}
	return c
}

// accept counts a request that came in wire bytes. It does not keep request.
func (s *Server) accept(signal Signal, request []byte, wire int64) error {
	now := time.Now().UnixNano()
	var check func([]byte)
	if s.cfg.Check {
		check = s.sequences.Add
	}
	t, err := count(signal, request, check)
	if err != nil {
		s.malformed.Add(1)
		return err
	}
	if s.store != nil && signal == Logs {
		if _, err := s.store.Write(request); err != nil { // whole: os.File has a lock
			return fmt.Errorf("store: %w", err)
		}
	}
	s.work(t.records)
	s.first.CompareAndSwap(0, now)
	s.last.Store(now)
	s.bytes.Add(int64(len(request)))
	s.wireBytes.Add(wire)
	s.bodyBytes.Add(t.bodyBytes)
	s.records[signal].Add(t.records)
	s.requests.Add(1)
	return nil
}

// work takes as long as so many records do.
func (s *Server) work(records int64) {
	if s.cfg.Rate == 0 {
		return
	}
	s.paceMu.Lock()
	if now := time.Now(); s.busy.Before(now) {
		s.busy = now
	}
	s.busy = s.busy.Add(time.Duration(records) * time.Second / time.Duration(s.cfg.Rate))
	done := s.busy
	s.paceMu.Unlock()
	time.Sleep(time.Until(done))
}

func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counters", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.Counters())
	})
	return mux
}
