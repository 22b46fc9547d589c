package export

import (
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/encoding"
)

// Compression levels: gzip 1 and zstd "fastest" are where a node's CPU time buys most; the next
// levels save a few percent of the network for twice the time.
const gzipLevel = 1

var gzipWriters = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzipLevel)
	if err != nil {
		panic("bug: " + err.Error())
	}
	return w
}}

// One encoder goroutine a stream and a window of 512 KiB keep a writer at 2 to 3 MiB.
var zstdWriters = sync.Pool{New: func() any {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(512<<10), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic("bug: " + err.Error())
	}
	return w
}}

// compressTo begins a stream of the named compression into w. Close ends it and gives its
// memory back; the writer must not be used afterwards.
func compressTo(w io.Writer, name string) io.WriteCloser {
	switch name {
	case "gzip":
		z := gzipWriters.Get().(*gzip.Writer)
		z.Reset(w)
		return pooled{z, &gzipWriters}
	case "zstd":
		z := zstdWriters.Get().(*zstd.Encoder)
		z.Reset(w)
		return pooled{z, &zstdWriters}
	}
	panic("bug: no compression " + name)
}

// pooled is a compressor that goes back to its pool when it is closed.
type pooled struct {
	io.WriteCloser
	pool *sync.Pool
}

func (p pooled) Close() error {
	err := p.WriteCloser.Close()
	p.pool.Put(p.WriteCloser)
	return err
}

// grpcCompressor makes a compression known to grpc under its name.
type grpcCompressor string

// Name implements encoding.Compressor.
func (c grpcCompressor) Name() string { return string(c) }

// Compress implements encoding.Compressor.
func (c grpcCompressor) Compress(w io.Writer) (io.WriteCloser, error) {
	return compressTo(w, string(c)), nil
}

// Decompress implements encoding.Compressor. Only answers come compressed, and the embedded
// sink's requests do not: it is too rare to keep readers.
func (c grpcCompressor) Decompress(r io.Reader) (io.Reader, error) {
	if c == "gzip" {
		return gzip.NewReader(r)
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

// registerCompressors replaces grpc's own gzip, which is the standard library's; grpc looks
// compressors up by name in a table of its own.
var registerCompressors = sync.OnceFunc(func() {
	encoding.RegisterCompressor(grpcCompressor("gzip"))
	encoding.RegisterCompressor(grpcCompressor("zstd"))
})
