package export

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/codes"

	"stint/export/elastic"
	"stint/export/otlp"
)

// benchRequest is a full batch: 4 MiB of chunks of 20 containers.
func benchRequest(b testing.TB) (*request, []*otlp.Chunk) {
	pool := otlp.NewPool(1<<30, nil)
	var groups []*otlp.Group
	for i := range 20 {
		groups = append(groups, otlp.NewGroup([]otlp.KeyValue{
			otlp.Attr("k8s.namespace.name", "payments"), otlp.Attr("k8s.pod.name", fmt.Sprintf("orders-7d9f8b6c5d-%05x", i)),
			otlp.Attr("k8s.container.name", "app"), otlp.Attr("k8s.node.name", "node-1"),
		}, otlp.SchemaURL, "stint/tail", "1"))
	}
	var chunks []*otlp.Chunk
	size := 0
	slab := pool.TryGet(0)
	start, records := 0, 0
	for _, l := range lines(rand.New(rand.NewPCG(1, 2)), 4<<20) {
		size += len(l) + 30
		if size > 4<<20-16<<10 {
			break
		}
		if cap(slab.Buf)-len(slab.Buf) < len(l)+100 || records == 400 {
			c := otlp.NewChunk(slab, slab.Buf[start:len(slab.Buf):len(slab.Buf)])
			c.Group, c.Records, c.Signal = groups[len(chunks)%len(groups)], records, otlp.Logs
			chunks = append(chunks, c)
			start, records = len(slab.Buf), 0
			if cap(slab.Buf)-len(slab.Buf) < len(l)+100 {
				slab = pool.TryGet(0)
				start = 0
			}
		}
		slab.Buf = otlp.AppendLogRecord(slab.Buf, &otlp.LogRecord{Time: 1763833440e9, Observed: 1763833441e9, Body: l})
		records++
	}
	r := newRequest(otlp.Logs, chunks)
	r.buffers()
	return r, chunks
}

func BenchmarkSend(b *testing.B) {
	r, _ := benchRequest(b)
	_, size := r.buffers()
	run := func(b *testing.B, d destination) {
		defer d.close()
		send := func() {
			ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
			defer cancel()
			if v := d.send(ctx, r); v.Kind != OK {
				b.Fatal(v)
			}
		}
		send() // connects
		b.SetBytes(int64(size))
		b.ReportAllocs()
		for b.Loop() {
			send()
		}
	}
	RegisterCompressors()
	for _, compression := range []string{"none", "gzip", "zstd"} {
		b.Run("grpc/"+compression, func(b *testing.B) {
			s := h2server(b, discardGRPC)
			d, err := newOTLPGRPC(&OTLP{Endpoint: s, TLS: TLS{Insecure: true}, Compression: compression, RetryOnFailure: fast}, me())
			if err != nil {
				b.Fatal(err)
			}
			run(b, d)
		})
		b.Run("http/"+compression, func(b *testing.B) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
			defer s.Close()
			d, err := newOTLPHTTP(&OTLPHTTP{Endpoint: s.URL, Compression: compression}, me())
			if err != nil {
				b.Fatal(err)
			}
			run(b, d)
		})
	}
	for _, mapping := range []string{elastic.OTel, elastic.ECS} {
		for _, compression := range []string{"none", "gzip"} {
			b.Run("elasticsearch/"+mapping+"/"+compression, func(b *testing.B) {
				s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					io.WriteString(w, `{"errors":false,"items":[]}`)
				}))
				defer s.Close()
				c := newTestElasticsearch(s.URL)
				c.Mapping.Mode, c.Compression = mapping, compression
				run(b, c.destination(b))
			})
		}
	}
}

// h2server is a plain-text HTTP/2 server: what speaks gRPC on it is written by hand, so that it
// costs little and can do what grpc's own server does not.
func h2server(t testing.TB, h http.HandlerFunc) (addr string) {
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 8 << 20, MaxReceiveBufferPerConnection: 8 << 20}
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// grpcAnswer writes an empty message and a status.
func grpcAnswer(w http.ResponseWriter, code codes.Code) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	w.Write([]byte{0, 0, 0, 0, 0})
	w.Header().Set("Grpc-Status", strconv.Itoa(int(code)))
}

func discardGRPC(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	grpcAnswer(w, codes.OK)
}

// BenchmarkCompress is the compressor alone on the same bytes: in one piece, as a stream of
// the request's pieces, and as we do it.
func BenchmarkCompress(b *testing.B) {
	r, _ := benchRequest(b)
	bufs, size := r.buffers()
	whole := r.bytes()
	loop := func(b *testing.B, f func() int) {
		n := f()
		b.SetBytes(int64(size))
		b.ReportAllocs()
		for b.Loop() {
			f()
		}
		b.ReportMetric(float64(size)/float64(n), "ratio")
	}
	b.Run("gzip/whole", func(b *testing.B) {
		var out bytes.Buffer
		w, _ := gzip.NewWriterLevel(nil, gzipLevel)
		loop(b, func() int { out.Reset(); w.Reset(&out); w.Write(whole); w.Close(); return out.Len() })
	})
	b.Run("zstd/whole", func(b *testing.B) {
		w, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		var out []byte
		loop(b, func() int { out = w.EncodeAll(whole, out[:0]); return len(out) })
	})
	for _, name := range []string{"gzip", "zstd"} {
		b.Run(name+"/ours", func(b *testing.B) {
			var out bytes.Buffer
			loop(b, func() int {
				out.Reset()
				w := compressTo(&out, name)
				for _, p := range bufs {
					w.Write(p)
				}
				w.Close()
				return out.Len()
			})
		})
	}
}

// BenchmarkBatch is the way of chunks from a source to a sealed request and back.
func BenchmarkBatch(b *testing.B) {
	for name, size := range map[string]int{"chunk=300KB": 300 << 10, "chunk=1KB": 1 << 10} {
		b.Run(name, func(b *testing.B) {
			l := &lane{cfg: BatchDefaults(), signal: otlp.Logs}
			q := newQueue(nil, l, 0, nil)
			l.queues = []*queue{q}
			pool := otlp.NewPool(1<<30, nil)
			var groups []*otlp.Group
			for i := range 50 {
				groups = append(groups, otlp.NewGroup([]otlp.KeyValue{otlp.Attr("k8s.pod.name", fmt.Sprint("orders-", i))}, otlp.SchemaURL, "stint/tail", "1"))
			}
			slab := pool.TryGet(0)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if cap(slab.Buf)-len(slab.Buf) < size {
					slab.Release()
					slab = pool.TryGet(0)
				}
				start := len(slab.Buf)
				slab.Buf = slab.Buf[:start+size]
				c := otlp.NewChunk(slab, slab.Buf[start:])
				c.Group, c.Records = groups[i%len(groups)], size/100
				l.add(c)
				for len(q.list) > 0 {
					q.take(nil)
					q.done(otlp.Delivered)
				}
			}
		})
	}
}
