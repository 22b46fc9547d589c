package export

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
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
	conn    *grpc.ClientConn
	opts    []grpc.CallOption
	headers metadata.MD
	timeout time.Duration
}

const roundRobin = `{"loadBalancingConfig":[{"round_robin":{}}]}`

func newOTLPGRPC(c *OTLP, version string) (*otlpGRPC, error) {
	registerCompressors()
	target, plain := c.Target()
	creds := insecure.NewCredentials()
	if !plain {
		cfg, err := clientTLS(c.TLS)
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(cfg)
	}
	if !strings.Contains(target, "://") && !strings.HasPrefix(target, "unix:") {
		// Round robin over all addresses of the name: with one connection all agents would stay
		// with the replica that they met first.
		target = "dns:///" + target
	}
	conn, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultServiceConfig(roundRobin),
		grpc.WithDisableServiceConfig(), // no TXT look-ups
		grpc.WithDisableRetry(),         // ours is the only one
		grpc.WithUserAgent("stint/"+version),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// Whole frames of many records a system call instead of 32 KiB.
		grpc.WithWriteBufferSize(256<<10),
		grpc.WithReadBufferSize(4<<10),
	)
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	g := &otlpGRPC{conn: conn, timeout: c.Timeout, headers: metadata.MD{}}
	for k, v := range c.Headers {
		g.headers.Append(strings.ToLower(k), v.Reveal())
	}
	g.opts = []grpc.CallOption{grpc.ForceCodecV2(codec{})}
	if c.Compression != "none" && c.Compression != "" {
		g.opts = append(g.opts, grpc.UseCompressor(c.Compression))
	}
	return g, nil
}

func (g *otlpGRPC) close() { g.conn.Close() }

func (g *otlpGRPC) send(ctx context.Context, r *request) Verdict {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	if len(g.headers) > 0 {
		ctx = metadata.NewOutgoingContext(ctx, g.headers)
	}
	var answer []byte
	if err := g.conn.Invoke(ctx, grpcMethods[r.signal], r, &answer, g.opts...); err != nil {
		return g.verdict(err)
	}
	return accepted(answer)
}

// accepted reads the answer to a request that was accepted. The server has the data even when
// its answer can't be read.
func accepted(answer []byte) Verdict {
	rejected, msg, err := otlp.PartialSuccess(answer)
	switch {
	case err != nil:
		return Verdict{Kind: OK, Err: fmt.Errorf("answer can't be read: %w", err)}
	case rejected > 0:
		return Verdict{Kind: Partial, Rejected: rejected, Err: fmt.Errorf("%d records rejected: %s", rejected, clip(msg))}
	case msg != "":
		return Verdict{Kind: OK, Err: errors.New(clip(msg))}
	}
	return Verdict{Kind: OK}
}

// clip keeps what a server says to the length of a log line.
func clip(s string) string { return s[:min(len(s), 500)] }

// verdict sorts gRPC's codes as the OTLP specification does ("OTLP/gRPC Response"), apart from
// what exporters.md 0.1 and 1 know better.
func (g *otlpGRPC) verdict(err error) Verdict {
	st, _ := status.FromError(err)
	v := Verdict{Err: fmt.Errorf("%s: %s", st.Code(), clip(st.Message()))}
	hinted := false
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			v.After, hinted = info.GetRetryDelay().AsDuration(), true
		}
	}
	switch st.Code() {
	case codes.Unavailable:
		v.Kind = Again
		if strings.Contains(st.Message(), "tls: ") && strings.Contains(st.Message(), "certificate") {
			v.Kind = Misconfigured
		}
		// Without a connection nothing was sent; with one, the answer may be what was lost.
		v.Unsure = !hinted && g.conn.GetState() == connectivity.Ready
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.DataLoss:
		v.Kind, v.Unsure = Again, true
	case codes.ResourceExhausted:
		// With RetryInfo the server is busy; without, the message is over its size limit.
		if v.Kind = Split; hinted {
			v.Kind = Again
		}
	case codes.Unauthenticated, codes.PermissionDenied:
		v.Kind = Auth
	case codes.Unimplemented:
		v.Kind = Misconfigured
	case codes.InvalidArgument:
		v.Kind = Split // one bad record costs itself, not its neighbours
	default:
		v.Kind, v.Reason = Drop, strings.ToLower(st.Code().String())
	}
	return v
}

// codec hands the encoded bytes to grpc as they are. It is called "proto", as servers expect.
type codec struct{}

var _ encoding.CodecV2 = codec{}

// Name implements encoding.CodecV2.
func (codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2 for *request (client) and []byte (server).
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case *request:
		bufs, _ := v.buffers()
		s := make(mem.BufferSlice, len(bufs))
		for i, b := range bufs {
			s[i] = mem.SliceBuffer(b)
		}
		return s, nil
	case []byte:
		return mem.BufferSlice{mem.SliceBuffer(v)}, nil
	}
	return nil, fmt.Errorf("bug: codec got a %T", v)
}

// Unmarshal implements encoding.CodecV2 for *[]byte.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("bug: codec got a %T", v)
	}
	*b = data.Materialize()
	return nil
}

// clientTLS makes the client's side of TLS. The client certificate is read at each handshake,
// so a renewed one counts from the next connection on.
func clientTLS(t TLS) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
	if t.CAFile != "" {
		pool, err := readCAs(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		cfg.RootCAs = pool
	}
	if t.CertFile != "" {
		load := func() (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			return &c, err
		}
		if _, err := load(); err != nil {
			return nil, fmt.Errorf("tls.cert_file: %w", err)
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return cfg, nil
}
