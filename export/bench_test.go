package export

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

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
	registerCompressors()
	for _, compression := range []string{"none", "gzip", "zstd"} {
		b.Run("grpc/"+compression, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			s := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.MaxRecvMsgSize(64<<20), grpc.UnknownServiceHandler(discard), grpc.InitialWindowSize(8<<20), grpc.InitialConnWindowSize(8<<20))
			go s.Serve(l)
			defer s.Stop()
			d, err := newOTLPGRPC(&OTLP{Endpoint: l.Addr().String(), TLS: TLS{Insecure: true}, Compression: compression, RetryOnFailure: quick}, "1")
			if err != nil {
				b.Fatal(err)
			}
			run(b, d)
		})
		b.Run("http/"+compression, func(b *testing.B) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
			defer s.Close()
			d, err := newOTLPHTTP(&OTLPHTTP{Endpoint: s.URL, Compression: compression}, "1")
			if err != nil {
				b.Fatal(err)
			}
			run(b, d)
		})
	}
}

// discard reads a message without decompressing it: the decompressor of "zstd" and "gzip" is
// not run because the codec asks for nothing.
func discard(_ any, s grpc.ServerStream) error {
	// RecvMsg would decompress; the bytes are counted as they arrive and thrown away by the
	// transport when the stream ends, so only uncompressed ones are read.
	var m mem.BufferSlice
	if err := s.RecvMsg(&m); err != nil {
		return err
	}
	m.Free()
	return s.SendMsg(mem.BufferSlice{})
}

// rawCodec gives and takes bytes as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) { return v.(mem.BufferSlice), nil }

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	data.Ref()
	*v.(*mem.BufferSlice) = data
	return nil
}

var _ encoding.CodecV2 = rawCodec{}

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
