package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

// tap stands between a client and a server and hands bytes on as they are. It keeps what the client said, so that a
// test knows what went in from a client that makes up its own data.
type tap struct {
	listener net.Listener
	backend  string
	wg       sync.WaitGroup

	mu   sync.Mutex // guards everything below
	said []*bytes.Buffer
	open []net.Conn
}

func newTap(t *testing.T, backend string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{listener: l, backend: backend}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.pass(c) })
		}
	})
	t.Cleanup(p.close)
	return p
}

func (p *tap) address() string { return p.listener.Addr().String() }

func (p *tap) pass(client net.Conn) {
	server, err := net.Dial("tcp", p.backend)
	if err != nil {
		client.Close()
		return
	}
	said := &bytes.Buffer{}
	p.mu.Lock()
	p.said = append(p.said, said)
	p.open = append(p.open, client, server)
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() {
		io.Copy(server, io.TeeReader(client, said))
		server.(*net.TCPConn).CloseWrite()
	})
	both.Go(func() {
		io.Copy(client, server)
		client.(*net.TCPConn).CloseWrite()
	})
	both.Wait()
	client.Close()
	server.Close()
}

func (p *tap) close() {
	p.listener.Close()
	p.mu.Lock()
	for _, c := range p.open {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// requests are the messages that passed, in protobuf; it ends the tap.
func (p *tap) requests(t *testing.T) (all []proto.Message) {
	t.Helper()
	p.close()
	for _, said := range p.said {
		parse := requestsHTTP1
		if bytes.HasPrefix(said.Bytes(), []byte(http2.ClientPreface)) {
			parse = requestsGRPC
		}
		m, err := parse(said.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m...)
	}
	return all
}

func requestsHTTP1(said []byte) (all []proto.Message, err error) {
	in := bufio.NewReader(bytes.NewReader(said))
	for {
		req, err := http.ReadRequest(in)
		if errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		m, err := decode(req.URL.Path, req.Header.Get("Content-Encoding"), body)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
}

// requestsGRPC finds the calls of a connection: a stream each, with one message.
func requestsGRPC(said []byte) (all []proto.Message, err error) {
	frames := http2.NewFramer(io.Discard, bytes.NewReader(said[len(http2.ClientPreface):]))
	frames.SetMaxReadFrameSize(1 << 24)
	frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	type stream struct{ path, encoding, data string }
	streams := map[uint32]*stream{}
	for {
		f, err := frames.ReadFrame()
		if errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		s := streams[f.Header().StreamID]
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			s = &stream{path: f.PseudoValue("path")}
			for _, h := range f.RegularFields() {
				if h.Name == "grpc-encoding" {
					s.encoding = h.Value
				}
			}
			streams[f.StreamID] = s
			continue
		case *http2.DataFrame:
			s.data += string(f.Data())
			if !f.StreamEnded() {
				continue
			}
		default:
			continue
		}
		if len(s.data) < 5 || uint32(len(s.data)-5) != binary.BigEndian.Uint32([]byte(s.data[1:])) {
			return nil, fmt.Errorf("a call of %s has %d bytes, which are not one message", s.path, len(s.data))
		}
		if s.data[0] == 0 {
			s.encoding = ""
		}
		m, err := decode(s.path, s.encoding, []byte(s.data[5:]))
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
}

// decode gives the message that was sent to a path.
func decode(path, encoding string, body []byte) (proto.Message, error) {
	switch encoding {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		if body, err = io.ReadAll(z); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("encoding %q", encoding)
	}
	var m proto.Message
	switch path = strings.ToLower(path); {
	case strings.Contains(path, "logs"):
		m = &collogs.ExportLogsServiceRequest{}
	case strings.Contains(path, "metrics"):
		m = &colmetrics.ExportMetricsServiceRequest{}
	case strings.Contains(path, "trace"):
		m = &coltrace.ExportTraceServiceRequest{}
	default:
		return nil, fmt.Errorf("path %q", path)
	}
	return m, proto.Unmarshal(body, m)
}

// records are what messages hold, one for each log record, metric and span, with resource and scope, however they
// were put together, and how often each is there.
func records(t *testing.T, messages ...proto.Message) map[string]int {
	t.Helper()
	all := map[string]int{}
	add := func(signal string, resource *resourcepb.Resource, resourceURL string, scope *commonpb.InstrumentationScope, scopeURL string, record proto.Message) {
		key := signal
		if resource == nil { // the same as an empty one
			resource = &resourcepb.Resource{}
		}
		if scope == nil {
			scope = &commonpb.InstrumentationScope{}
		}
		for _, m := range []proto.Message{resource, scope, record} {
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			key += fmt.Sprintf(" %d:%s", len(b), b)
		}
		all[key+" "+resourceURL+" "+scopeURL]++
	}
	for _, m := range messages {
		switch m := m.(type) {
		case *collogs.ExportLogsServiceRequest:
			for _, r := range m.ResourceLogs {
				for _, s := range r.ScopeLogs {
					for _, x := range s.LogRecords {
						add("log", r.Resource, r.SchemaUrl, s.Scope, s.SchemaUrl, x)
					}
				}
			}
		case *colmetrics.ExportMetricsServiceRequest:
			for _, r := range m.ResourceMetrics {
				for _, s := range r.ScopeMetrics {
					for _, x := range s.Metrics {
						add("metric", r.Resource, r.SchemaUrl, s.Scope, s.SchemaUrl, x)
					}
				}
			}
		case *coltrace.ExportTraceServiceRequest:
			for _, r := range m.ResourceSpans {
				for _, s := range r.ScopeSpans {
					for _, x := range s.Spans {
						add("span", r.Resource, r.SchemaUrl, s.Scope, s.SchemaUrl, x)
					}
				}
			}
		default:
			t.Fatalf("a %T", m)
		}
	}
	return all
}
