package export

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

// Servers that answer before they have read, answer nothing, or hang up, while the memory of
// what was sent is used again at once: with the race detector this tells whether a transport
// still reads it, and each request that arrives whole is whole.
func TestMemoryIsFreeWhenSettled(t *testing.T) {
	var whole, torn atomic.Int64
	check := func(b []byte) {
		var m collogs.ExportLogsServiceRequest
		if err := proto.Unmarshal(b, &m); err != nil {
			torn.Add(1)
			return
		}
		for _, s := range logBodies(&m) {
			if strings.Count(s, s[:1]) != len(s) {
				torn.Add(1)
				return
			}
		}
		whole.Add(1)
	}
	early := func(r *http.Request) {
		io.CopyN(io.Discard, r.Body, rand.Int64N(100_000))
	}
	serve := map[string]func(w http.ResponseWriter, r *http.Request, answer int){
		"grpc": func(w http.ResponseWriter, r *http.Request, answer int) {
			switch answer {
			case 0:
				early(r)
				grpcAnswer(w, codes.OK)
			case 1:
				early(r)
				grpcAnswer(w, codes.ResourceExhausted)
			case 2:
				early(r)
				grpcAnswer(w, codes.Unavailable)
			default:
				b, err := io.ReadAll(r.Body)
				if err != nil || len(b) < 5 {
					return
				}
				check(b[5:])
				grpcAnswer(w, codes.OK)
			}
		},
		"http": func(w http.ResponseWriter, r *http.Request, answer int) {
			switch answer {
			case 0:
				early(r)
				io.WriteString(w, "thanks")
			case 1:
				early(r)
				http.Error(w, "too much", http.StatusRequestEntityTooLarge)
			case 2:
				early(r)
				http.Error(w, "later", http.StatusServiceUnavailable)
			default:
				b, err := io.ReadAll(r.Body)
				if err != nil {
					return
				}
				if b, err = decompress(r.Header.Get("Content-Encoding"), b); err != nil {
					torn.Add(1)
				}
				check(b)
			}
		},
	}
	for transport, by := range transports {
		for _, compression := range []string{"none", "zstd"} {
			t.Run(transport+"/"+compression, func(t *testing.T) {
				if transport == "grpc" && compression != "none" {
					t.Skip("grpc compresses into memory of its own before it sends")
				}
				h := func(w http.ResponseWriter, r *http.Request) {
					switch answer := rand.N(8); answer {
					case 3:
						early(r)
						panic(http.ErrAbortHandler)
					case 4:
						early(r)
						select {
						case <-r.Context().Done():
						case <-time.After(100 * time.Millisecond):
						}
					default:
						serve[transport](w, r, answer)
					}
				}
				addr := ""
				if transport == "grpc" {
					addr = h2server(t, h)
				} else {
					s := httptest.NewServer(http.HandlerFunc(h))
					t.Cleanup(s.Close)
					addr = s.Listener.Addr().String()
				}
				x := by.exporter(addr)
				setCompression(x, compression)
				d := newDestination(t, x)
				group := otlp.NewGroup([]otlp.KeyValue{otlp.Attr("a", "b")}, "", "t", "")
				var senders sync.WaitGroup
				var held, sent atomic.Int64
				end := time.Now().Add(500 * time.Millisecond)
				for range 3 {
					senders.Go(func() {
						var slabs [6][]byte
						for n := 0; time.Now().Before(end) || whole.Load() == 0 && time.Now().Before(end.Add(10*time.Second)); n++ {
							var r request
							line := bytes.Repeat([]byte{byte('a' + n%26)}, 4000)
							for i, b := range slabs {
								if b == nil {
									b = make([]byte, 0, otlp.SlabSize)
								}
								b = b[:0]
								p := piece{group: group}
								for cap(b)-len(b) > otlp.LogRecordLen(len(line), 0) {
									b = otlp.AppendLogRecord(b, &otlp.LogRecord{Time: 1, Observed: 1, Body: line})
									p.records++
								}
								slabs[i], p.data = b, b
								r.add(p)
							}
							ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond+rand.N(200*time.Millisecond))
							v := d.send(ctx, &r)
							cancel()
							if sent.Add(1); v.Held {
								held.Add(1)
								slabs = [6][]byte{}
							}
						}
					})
				}
				senders.Wait()
				t.Logf("%d requests: %d arrived whole, %d torn, %d held", sent.Load(), whole.Load(), torn.Load(), held.Load())
				if torn.Load() > 0 || whole.Load() < 1 {
					t.Errorf("%d requests arrived whole, %d torn", whole.Load(), torn.Load())
				}
				if transport == "http" && held.Load() > 0 {
					t.Errorf("%d requests are held", held.Load())
				}
				whole.Store(0)
				torn.Store(0)
			})
		}
	}
}

// A server that accepts a request before it has read it, and reads on afterwards.
func TestAcceptedBeforeRead(t *testing.T) {
	const size = 16 << 20 // more than the kernel takes off the transport's hands
	answered := make(chan struct{})
	body := make([]byte, size)
	req := func() *request {
		r := &request{signal: otlp.Logs}
		r.add(piece{group: otlp.NewGroup(nil, "", "", ""), data: body, records: 1})
		return r
	}
	write := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); {
			clear(body)
		}
	}
	t.Run("http", func(t *testing.T) {
		addr := listen(t, func(c *net.TCPConn) {
			c.SetDeadline(time.Now().Add(5 * time.Second))
			r := bufio.NewReaderSize(c, 4096)
			for l := ""; l != "\r\n"; l, _ = r.ReadString('\n') {
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			<-answered
			io.Copy(io.Discard, r)
		})
		v := sendRequest(t, newDestination(t, transports["http"].exporter(addr)), req())
		if v.Kind != OK || v.Held {
			t.Errorf("verdict %+v", v)
		}
		answered <- struct{}{}
		write(100 * time.Millisecond) // the race detector looks on
	})
	t.Run("grpc", func(t *testing.T) {
		addr := listen(t, func(c *net.TCPConn) {
			c.SetDeadline(time.Now().Add(5 * time.Second))
			io.CopyN(io.Discard, c, int64(len(http2.ClientPreface)))
			f := http2.NewFramer(c, c)
			f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
			f.WriteWindowUpdate(0, 1<<30)
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					t.Error(err)
					return
				}
				switch h := frame.(type) {
				case *http2.SettingsFrame:
					if !h.IsAck() {
						f.WriteSettingsAck()
					}
				case *http2.DataFrame:
					<-time.After(100 * time.Millisecond) // until grpc can write no more
					var b bytes.Buffer
					e := hpack.NewEncoder(&b)
					e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
					e.WriteField(hpack.HeaderField{Name: "content-type", Value: "application/grpc"})
					f.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, BlockFragment: b.Bytes(), EndHeaders: true})
					f.WriteData(h.StreamID, false, make([]byte, 5))
					b.Reset()
					e.WriteField(hpack.HeaderField{Name: "grpc-status", Value: "0"})
					f.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: true})
					<-answered
					io.Copy(io.Discard, c)
					return
				}
			}
		})
		v := sendRequest(t, newDestination(t, transports["grpc"].exporter(addr)), req())
		if v.Kind != OK || !v.Held {
			t.Errorf("verdict %+v, want ok and that the bytes are held", v)
		}
		answered <- struct{}{}
	})
}

func sendRequest(t testing.TB, d destination, r *request) Verdict {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return d.send(ctx, r)
}

// A request that was taken in whole leaves its memory free: slabs are used again in ordinary
// operation, and nothing has to be lent.
func TestMemoryIsUsedAgain(t *testing.T) {
	for transport, by := range transports {
		t.Run(transport, func(t *testing.T) {
			r := by.serve(t, nil)
			d := newDestination(t, by.exporter(r.addr))
			s := newSource(t)
			held := 0
			for range 50 {
				c := s.logs("a", 100, 1000)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				v := d.send(ctx, newRequest(otlp.Logs, []*otlp.Chunk{c}))
				cancel()
				if v.Kind != OK {
					t.Error(v)
				}
				if v.Held {
					held++
				}
				c.Settle(otlp.Delivered)
			}
			if held > 2 {
				t.Errorf("%d of 50 accepted requests are still held", held)
			}
		})
	}
}
