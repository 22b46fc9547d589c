package export

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"stint/export/otlp"
)

// Sink is an OTLP/gRPC receiver inside the process that counts what arrives and keeps nothing.
// It is used when no exporter is configured: everything runs as it would with a collector.
type Sink struct {
	// OnLog, if set before Run, is given the body of each log record that is a string. It may
	// be called by several goroutines at once and must keep nothing of it.
	OnLog func(body []byte)

	listener net.Listener
	server   *grpc.Server
	records  [otlp.Signals]atomic.Int64
}

// sinkGrace is for connections of others, who may never hang up.
const sinkGrace = 2 * time.Second

// NewSink listens on a free loopback port.
func NewSink() (*Sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("embedded sink: %w", err)
	}
	RegisterCompressors()
	s := &Sink{listener: l}
	s.server = grpc.NewServer(grpc.ForceServerCodecV2(Codec{}), grpc.MaxRecvMsgSize(64<<20))
	for signal, name := range [otlp.Signals]string{
		otlp.Logs:    "opentelemetry.proto.collector.logs.v1.LogsService",
		otlp.Metrics: "opentelemetry.proto.collector.metrics.v1.MetricsService",
		otlp.Traces:  "opentelemetry.proto.collector.trace.v1.TraceService",
	} {
		s.server.RegisterService(&grpc.ServiceDesc{
			ServiceName: name,
			Methods: []grpc.MethodDesc{{
				MethodName: "Export",
				Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
					return s.export(otlp.Signal(signal), decode)
				},
			}},
		}, nil)
	}
	return s, nil
}

// Exporter is the configuration of a destination that sends to the sink.
func (s *Sink) Exporter() Exporter {
	v, err := Exporters{}.NewValue("otlp")
	if err != nil {
		panic("bug: " + err.Error())
	}
	o := v.(*OTLP)
	o.Endpoint, o.TLS.Insecure, o.Compression = s.listener.Addr().String(), true, "none"
	return o
}

func (s *Sink) export(signal otlp.Signal, decode func(any) error) (any, error) {
	var buf mem.Buffer
	if err := decode(&buf); err != nil {
		return nil, err
	}
	defer buf.Free()
	request := buf.ReadOnlyData()
	n, err := otlp.Count(signal, request)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if signal == otlp.Logs && s.OnLog != nil {
		if err := otlp.LogBodies(request, s.OnLog); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
	}
	s.records[signal].Add(int64(n))
	return []byte{}, nil
}

// Records is how many records of a signal arrived.
func (s *Sink) Records(signal otlp.Signal) int64 { return s.records[signal].Load() }

// Run serves until ctx ends, then lets running calls end, for a while.
func (s *Sink) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		limit := time.AfterFunc(sinkGrace, s.server.Stop)
		defer limit.Stop()
		s.server.GracefulStop()
	})
	defer stop()
	if err := s.server.Serve(s.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("embedded sink: %w", err)
	}
	return nil
}
