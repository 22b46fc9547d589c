package export

import (
	"errors"
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

// No goroutines and a window of 512 KiB keep a writer at 1.2 MiB. Streams cost no more time than
// EncodeAll of the whole request in one piece would, which needs twice the memory.
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
	p := grpcPieces.Get().(*pieces)
	p.w = w
	return piecesCloser{compressTo(p, string(c)), p}, nil
}

// pieces gathers what is written into pieces of 32 KiB. grpc copies each write into a buffer
// of its own, of 1 MiB if it is larger than this; gzip writes 246 bytes at a time, zstd 128 KiB.
type pieces struct {
	w   io.Writer
	n   int
	buf [32 << 10]byte
}

var grpcPieces = sync.Pool{New: func() any { return new(pieces) }}

// Write implements io.Writer.
func (p *pieces) Write(b []byte) (n int, err error) {
	n = len(b)
	for len(b) > 0 {
		c := copy(p.buf[p.n:], b)
		b = b[c:]
		if p.n += c; p.n == len(p.buf) {
			if err := p.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (p *pieces) flush() error {
	_, err := p.w.Write(p.buf[:p.n])
	p.n = 0
	return err
}

// piecesCloser is a compressor that writes into p.
type piecesCloser struct {
	io.WriteCloser
	p *pieces
}

func (c piecesCloser) Close() error {
	err := errors.Join(c.WriteCloser.Close(), c.p.flush())
	c.p.w = nil
	grpcPieces.Put(c.p)
	return err
}

// Readers are kept: the gateway's requests come compressed, and one of zstd takes a megabyte.
var (
	gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}
	zstdReaders = sync.Pool{New: func() any {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			panic("bug: " + err.Error())
		}
		return z
	}}
)

// Decompress implements encoding.Compressor. grpc closes what can be closed.
func (c grpcCompressor) Decompress(r io.Reader) (io.Reader, error) {
	if c == "gzip" {
		z := gzipReaders.Get().(*gzip.Reader)
		if err := z.Reset(r); err != nil {
			gzipReaders.Put(z)
			return nil, err
		}
		return decompressing{z, func() { gzipReaders.Put(z) }}, nil
	}
	z := zstdReaders.Get().(*zstd.Decoder)
	if err := z.Reset(r); err != nil {
		return nil, err
	}
	return decompressing{z, func() { z.Reset(nil); zstdReaders.Put(z) }}, nil
}

// decompressing is a reader that goes back to its pool when it is closed.
type decompressing struct {
	io.Reader
	close func()
}

func (d decompressing) Close() error { d.close(); return nil }

// RegisterCompressors replaces grpc's own gzip, which is the standard library's; grpc looks
// compressors up by name in a table of its own.
var RegisterCompressors = sync.OnceFunc(func() {
	encoding.RegisterCompressor(grpcCompressor("gzip"))
	encoding.RegisterCompressor(grpcCompressor("zstd"))
})
