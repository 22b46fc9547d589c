package export

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"stint/export/otlp"
)

// grpcMethods are the Export calls of opentelemetry-proto's collector services.
var grpcMethods = [otlp.Signals]string{
	otlp.Logs:    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
	otlp.Metrics: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
	otlp.Traces:  "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
}

// otlpGRPC is a receiver that speaks OTLP/gRPC.
type otlpGRPC struct {
	conn  *grpc.ClientConn
	opts  []grpc.CallOption
	login *login
	tls   *tlsSource
}

const roundRobin = `{"loadBalancingConfig":[{"round_robin":{}}]}`

func newOTLPGRPC(c *OTLP, a about) (*otlpGRPC, error) {
	RegisterCompressors()
	target, plain := c.Target()
	login, err := newLogin(c.Credentials, a, proxySecrets(c.ProxyURL)...)
	if err != nil {
		return nil, err
	}
	source, err := newTLSSource(c.TLS, a)
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if !plain {
		creds = grpcTLS{source}
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultServiceConfig(roundRobin),
		grpc.WithDisableServiceConfig(), // no TXT look-ups
		grpc.WithDisableRetry(),         // ours is the only one
		grpc.WithUserAgent("stint/" + a.version),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// Connecting keeps pace with our attempts: grpc's own pauses grow to two minutes, and an
		// attempt during a pause fails without a try.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           grpcbackoff.Config{BaseDelay: c.RetryOnFailure.InitialInterval, Multiplier: 1.6, Jitter: 0.2, MaxDelay: c.RetryOnFailure.MaxInterval},
			MinConnectTimeout: 10 * time.Second,
		}),
		// Whole frames of many records a system call instead of 32 KiB.
		grpc.WithWriteBufferSize(256 << 10),
		grpc.WithReadBufferSize(4 << 10),
	}
	// Round robin over all addresses of the name: with one connection all agents would stay with
	// the replica that they met first.
	scheme := "dns:///"
	// grpc asks the environment for a proxy itself, but knows nothing of names in a cluster.
	opts = append(opts, grpc.WithNoProxy())
	if _, local := Socket(target); local {
		scheme = "" // it has its own
	} else if proxy, err := Proxy(c.ProxyURL)(&url.URL{Scheme: "https", Host: target}); err != nil {
		return nil, err
	} else if proxy != nil {
		scheme = "passthrough:///" // the proxy knows the name
		opts = append(opts, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return dialThrough(ctx, proxy, addr, source.get())
		}))
	}
	conn, err := grpc.NewClient(scheme+target, opts...)
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	g := &otlpGRPC{conn: conn, login: login, tls: source}
	g.opts = []grpc.CallOption{grpc.ForceCodecV2(Codec{})}
	if c.Compression != "none" && c.Compression != "" {
		g.opts = append(g.opts, grpc.UseCompressor(c.Compression))
	}
	return g, nil
}

func (g *otlpGRPC) close() { g.conn.Close() }

func (g *otlpGRPC) send(ctx context.Context, r *request) Verdict {
	login := g.login.get()
	ctx = metadata.AppendToOutgoingContext(metadata.NewOutgoingContext(ctx, login.metadata), BatchID, r.id)
	var (
		answer          []byte
		to              peer.Peer
		header, trailer metadata.MD
	)
	m := &message{request: r}
	opts := append(g.opts[:len(g.opts):len(g.opts)], grpc.Peer(&to), grpc.Header(&header), grpc.Trailer(&trailer))
	err := g.conn.Invoke(ctx, grpcMethods[r.signal], m, &answer, opts...)
	v := Verdict{}
	if err == nil {
		v = accepted(answer)
	} else {
		v = grpcVerdict(err, to.Addr != nil, len(header)+len(trailer) > 0)
	}
	v.Held = m.held.Load()
	v.Err = login.clean(v.Err)
	if v.Kind == Auth {
		g.login.refused()
	}
	return v
}

// accepted reads the answer to a request that was accepted. The server has the data even when
// its answer can't be read.
func accepted(answer []byte) Verdict {
	return acceptance(otlp.PartialSuccess(answer))
}

func acceptance(rejected int64, msg string, err error) Verdict {
	switch {
	case err != nil:
		return Verdict{Kind: OK, Err: fmt.Errorf("answer can't be read: %w", err)}
	case rejected > 0:
		return Verdict{Kind: Partial, Rejected: rejected, Err: fmt.Errorf("%d records rejected: %s", rejected, msg)}
	case msg != "":
		return Verdict{Kind: OK, Err: errors.New(msg)}
	}
	return Verdict{Kind: OK}
}

// grpcVerdict sorts gRPC's codes as the OTLP specification does ("OTLP/gRPC Response"), apart
// from what exporters.md 0.1 and 1 know better. sent says that there was a connection to send
// on, answered that the server itself gave the status: grpc makes one up where it did not.
func grpcVerdict(err error, sent, answered bool) Verdict {
	st, _ := status.FromError(err)
	v := Verdict{Err: fmt.Errorf("%s: %s", st.Code(), st.Message())}
	if !answered {
		// What stands before it is the proxy or server that is no gRPC server.
		if _, after, ok := strings.Cut(st.Message(), "unexpected HTTP status code received from server: "); ok {
			code := 0
			fmt.Sscan(after, &code)
			h := byHTTPStatus(code)
			h.Err = v.Err
			return h
		}
		if _, after, ok := strings.Cut(st.Message(), proxyRefused); ok {
			code := 0
			fmt.Sscan(after, &code)
			p := (&proxyRefusal{code: code}).verdict()
			p.Err = v.Err
			return p
		}
		v.Kind, v.Unsure = Again, sent
		for _, sign := range []string{tlsAlert, "tls: failed to verify certificate", tlsToPlain, "looked like an HTTP/1.1 header"} {
			if strings.Contains(st.Message(), sign) {
				v.Kind, v.Unsure = Misconfigured, false
			}
		}
		return v
	}
	hinted := false
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			v.After, hinted = info.GetRetryDelay().AsDuration(), true
		}
	}
	switch code := st.Code(); code {
	case codes.Unavailable, codes.Aborted, codes.OutOfRange:
		v.Kind = Again
	case codes.Canceled, codes.DeadlineExceeded, codes.DataLoss:
		v.Kind, v.Unsure = Again, true // what stands behind the server may have it
	case codes.ResourceExhausted:
		// With RetryInfo the server is busy; without, the message is over its size limit.
		if v.Kind = Again; !hinted {
			v.Kind, v.Reason = Split, tooLarge
		}
	case codes.Unauthenticated, codes.PermissionDenied:
		v.Kind = Auth
	case codes.Unimplemented:
		v.Kind = Misconfigured
	case codes.InvalidArgument:
		v.Kind, v.Reason = Split, invalid // one bad record costs itself, not its neighbours
	default:
		if code > codes.Unauthenticated { // a label must not be what a server makes up
			code = codes.Unknown
		}
		v.Kind, v.Reason = Drop, "grpc_"+strings.ToLower(code.String())
	}
	return v
}

// message is a request on its way through grpc. grpc writes to the socket in a goroutine of
// its own, which may go on after the call has ended: because it was given up, or because the
// server answered before it had read everything.
type message struct {
	*request
	held atomic.Bool // grpc has the request's bytes
}

// Get implements mem.BufferPool, for which there is no use.
func (m *message) Get(int) *[]byte { panic("bug: a message is no source of buffers") }

// Put implements mem.BufferPool: grpc lets go of the last buffer of the message.
func (m *message) Put(*[]byte) { m.held.Store(false) }

// Codec hands the encoded bytes to grpc as they are. It is called "proto", as servers expect.
type Codec struct{}

var _ encoding.CodecV2 = Codec{}

// Name implements encoding.CodecV2.
func (Codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2 for *message (client) and []byte (server).
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case *message:
		bufs, _ := v.buffers()
		s := make(mem.BufferSlice, len(bufs), len(bufs)+1)
		for i, b := range bufs {
			s[i] = mem.SliceBuffer(b)
		}
		// An empty buffer at the end tells when grpc is done: it frees buffers in their order.
		// Those of little capacity are not counted.
		last := make([]byte, 0, 2<<10)
		v.held.Store(true)
		return append(s, mem.NewBuffer(&last, v)), nil
	case []byte:
		return mem.BufferSlice{mem.SliceBuffer(v)}, nil
	}
	return nil, fmt.Errorf("bug: codec got a %T", v)
}

// Unmarshal implements encoding.CodecV2 for *[]byte (client) and *mem.Buffer and *mem.BufferSlice (servers),
// which the receiver frees.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch v := v.(type) {
	case *[]byte:
		*v = data.Materialize()
	case *mem.BufferSlice:
		data.Ref()
		*v = data
	case *mem.Buffer:
		*v = data.MaterializeToBuffer(mem.DefaultBufferPool())
	default:
		return fmt.Errorf("bug: codec got a %T", v)
	}
	return nil
}
