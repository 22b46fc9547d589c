package gateway

import (
	"context"
	"crypto/tls"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/types/known/durationpb"

	"stint/export"
	"stint/export/otlp"
	"stint/scrape/kube/lookup"
)

// services are opentelemetry-proto's collector services.
var services = [otlp.Signals]string{
	otlp.Logs:    "opentelemetry.proto.collector.logs.v1.LogsService",
	otlp.Metrics: "opentelemetry.proto.collector.metrics.v1.MetricsService",
	otlp.Traces:  "opentelemetry.proto.collector.trace.v1.TraceService",
}

const (
	// A connection ends after about this, so that clients find replicas that are new; grpc adds a tenth
	// either way.
	maxConnectionAge   = 5 * time.Minute
	connectionAgeGrace = 30 * time.Second
	// maxStreams is how many requests a connection may have under way.
	maxStreams = 100
	// maxHeaders is how many bytes of headers a request may have.
	maxHeaders = 16 << 10
)

// newGRPC makes the server.
func (g *Gateway) newGRPC(cfg *tls.Config) *grpc.Server {
	export.RegisterCompressors()
	registerSnappy()
	readBuffer := 256 << 10 // whole frames of many records a system call
	if cfg != nil {
		readBuffer = 32 << 10 // with TLS each of thousands of connections has one for good
	}
	opts := []grpc.ServerOption{
		grpc.ForceServerCodecV2(export.Codec{}),
		grpc.MaxRecvMsgSize(g.cfg.MaxRequestBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.ReadBufferSize(readBuffer),
		grpc.StatsHandler(ends{}),
		grpc.InitialWindowSize(1 << 20), grpc.InitialConnWindowSize(4 << 20),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: maxConnectionAge, MaxConnectionAgeGrace: connectionAgeGrace, Time: 30 * time.Second, Timeout: 10 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second}),
		grpc.InTapHandle(g.tap),
	}
	creds := insecure.NewCredentials()
	if cfg != nil {
		creds = credentials.NewTLS(cfg)
	}
	opts = append(opts, grpc.Creds(handshake{creds}))
	server := grpc.NewServer(opts...)
	for s, name := range services {
		server.RegisterService(&grpc.ServiceDesc{
			ServiceName: name,
			Methods: []grpc.MethodDesc{{
				MethodName: "Export",
				Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
					return g.export(ctx, otlp.Signal(s), decode)
				},
			}},
		}, nil)
	}
	return server
}

// tap refuses requests before their bodies are read: those without the token, and all while there is no
// memory for them.
func (g *Gateway) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	signal := otlp.Signal(slices.IndexFunc(services[:], func(name string) bool { return info.FullMethodName == "/"+name+"/Export" }))
	if signal >= otlp.Signals { // -1, too
		return ctx, nil // grpc says that there is no such method
	}
	if g.token != nil {
		md, _ := metadata.FromIncomingContext(ctx)
		if v := md.Get("authorization"); len(v) != 1 || !g.allowed(v[0]) {
			g.stats.refused(signal, "unauthorized")
			return ctx, status.Error(codes.Unauthenticated, "the token in authorization is missing or wrong")
		}
	}
	if reason, text := g.full(signal); reason != "" {
		g.stats.refused(signal, reason)
		return ctx, later(text, busyFor())
	}
	ctx, cancel := context.WithCancel(ctx)
	return context.WithValue(ctx, readTimer{}, time.AfterFunc(readTimeout, cancel)), nil
}

// readTimeout is how long a client may take to send a request by gRPC: memory is held for it.
const readTimeout = 30 * time.Second

// readTimer is the context's key of the timer that ends a request which is not read by then.
type readTimer struct{}

// full says why the next request would hardly find room; empty: it may.
func (g *Gateway) full(signal otlp.Signal) (reason, text string) {
	switch {
	case g.pool.Used() >= g.pool.Limit():
		return "no_memory", "no memory for more requests"
	case g.spoolFull != nil && g.spoolFull(signal):
		return "spool_full", "a destination is away, and the spool has no room for more requests"
	}
	return "", ""
}

func later(text string, after time.Duration) error {
	st, err := status.New(codes.Unavailable, text).WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	if err != nil {
		return status.Error(codes.Unavailable, text)
	}
	return st.Err()
}

func (g *Gateway) export(ctx context.Context, signal otlp.Signal, decode func(any) error) (any, error) {
	var client lookup.Client
	if p, ok := peer.FromContext(ctx); ok {
		client.Address, client.Connected = hostOf(p.Addr.String()), since(p)
	}
	slab, size, err := g.receive(ctx, signal, client.Address, decode)
	defer func() { g.quota.give(client.Address, size) }()
	if err != nil {
		return nil, err
	}
	id := ""
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		if v := md.Get(export.BatchID); len(v) == 1 {
			id = v[0]
		}
	}
	switch a := g.take(ctx, signal, slab, client, id); a.refusal {
	case accepted:
		return a.response(), nil
	case malformed:
		st, err := status.New(codes.InvalidArgument, a.text).WithDetails(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "request", Description: a.text}}})
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, a.text)
		}
		return nil, st.Err()
	case tooLarge:
		return nil, status.Error(codes.ResourceExhausted, a.text)
	case unwanted:
		return nil, status.Error(codes.Unimplemented, a.text)
	default:
		return nil, later(a.text, a.after)
	}
}

// mostUsual is how much memory is asked for at most before a request is read: what clients send at most, as most servers
// take no more.
const mostUsual = 4 << 20

// receive reads a request. size is what the client's quota was charged with, also with an error.
//
// grpc does not tell how long a request is before it has read all of it, into memory of its own. So there must be room for
// one as large as they come at present before it is read, and it lies there afterwards.
func (g *Gateway) receive(ctx context.Context, signal otlp.Signal, client string, decode func(any) error) (slab *otlp.Slab, size int, err error) {
	room := func(n int) error {
		if n > size && !g.quota.take(client, n-size) {
			g.stats.refused(signal, "quota")
			return later("this client's requests take a quarter of the memory already", busyFor())
		}
		size = max(n, size)
		if slab = g.pool.TryGet(n); slab == nil {
			g.stats.refused(signal, "no_memory")
			return later("no memory for this request", busyFor())
		}
		return nil
	}
	usual := int(g.usual.Load())
	if err := room(usual); err != nil {
		return nil, size, err
	}
	var request mem.BufferSlice
	err = decode(&request)
	if t, ok := ctx.Value(readTimer{}).(*time.Timer); ok {
		t.Stop()
	}
	if err != nil {
		slab.Release()
		reason := "unreadable"
		if status.Code(err) == codes.ResourceExhausted {
			reason = "too_large"
		}
		g.stats.refused(signal, reason)
		return nil, size, err // grpc's own: ResourceExhausted without RetryInfo for one that is too large
	}
	defer request.Free()
	n := request.Len()
	g.usual.Store(int64(min(max(n, usual-usual/16), mostUsual))) // calls at the same time may overwrite each other's: it is a guess
	if cap(slab.Buf) < n || cap(slab.Buf) > max(2*n, otlp.SlabSize) {
		slab.Release()
		if err := room(n); err != nil {
			return nil, size, err
		}
	}
	for _, b := range request {
		slab.Buf = append(slab.Buf, b.ReadOnlyData()...)
	}
	if size > n {
		g.quota.give(client, size-n)
	}
	return slab, n, nil
}
