package sink

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// windowBytes lets a request of 4 MiB come without waiting for window updates.
const windowBytes = 8 << 20

func (s *Server) newGRPC() *grpc.Server {
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(windowBytes),
		grpc.ReadBufferSize(256<<10),
		grpc.StatsHandler(wireSize{}),
	)
	for signal, service := range [...]string{
		Logs:    "opentelemetry.proto.collector.logs.v1.LogsService",
		Metrics: "opentelemetry.proto.collector.metrics.v1.MetricsService",
		Traces:  "opentelemetry.proto.collector.trace.v1.TraceService",
	} {
		server.RegisterService(&grpc.ServiceDesc{
			ServiceName: service,
			HandlerType: (*any)(nil),
			Methods: []grpc.MethodDesc{{
				MethodName: "Export",
				Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
					return s.export(ctx, Signal(signal), decode)
				},
			}},
		}, nil)
	}
	return server
}

// export answers one call with an empty response, which means: all accepted.
func (s *Server) export(ctx context.Context, signal Signal, decode func(any) error) (any, error) {
	if !s.faults.Refuse && s.faults.hits() {
		time.Sleep(s.faults.Delay)
		if s.faults.Status != 0 {
			s.refused.Add(1)
			return nil, s.faults.grpcError()
		}
	}
	var request raw
	if err := decode(&request); err != nil {
		s.malformed.Add(1)
		return nil, err
	}
	defer request.data.Free()
	bytes := request.data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer bytes.Free()
	wire := int64(bytes.Len())
	if size, ok := ctx.Value(wireSize{}).(*int64); ok {
		wire = *size
	}
	if err := s.accept(signal, bytes.ReadOnlyData(), wire); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &raw{}, nil
}

// raw is a message that stays encoded.
type raw struct {
	data mem.BufferSlice
}

// rawCodec hands bytes over as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	message, ok := v.(*raw)
	if !ok {
		return nil, fmt.Errorf("bug: %T is not a raw message", v)
	}
	return message.data, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	message, ok := v.(*raw)
	if !ok {
		return fmt.Errorf("bug: %T is not a raw message", v)
	}
	data.Ref() // the caller frees its own
	message.data = data
	return nil
}

// wireSize notes the size of each request as it came: grpc-go tells only a
// stats handler. It is its own context key.
type wireSize struct{}

func (wireSize) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, wireSize{}, new(int64))
}

func (wireSize) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InPayload); ok {
		*ctx.Value(wireSize{}).(*int64) = int64(in.CompressedLength)
	}
}

func (wireSize) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (wireSize) HandleConn(context.Context, stats.ConnStats) {}
