package sink

import (
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/encoding"
)

// grpc-go has no zstd of its own, and its gzip unpacks at half the speed: an
// agent that waits for the sink is measured with cold caches. grpc-go takes a
// compressor in an init function only: its registry has no lock.
func init() {
	encoding.RegisterCompressor(gzipCompressor{})
	encoding.RegisterCompressor(zstdCompressor{})
}

// gzipReaders holds *gzip.Reader, zstdReaders *zstd.Decoder: making one costs
// more than most requests.
var gzipReaders, zstdReaders sync.Pool

type gzipCompressor struct{}

func (gzipCompressor) Name() string { return "gzip" }

// Compress is for answers, which are empty.
func (gzipCompressor) Compress(w io.Writer) (io.WriteCloser, error) {
	return gzip.NewWriterLevel(w, gzip.BestSpeed)
}

func (gzipCompressor) Decompress(r io.Reader) (io.Reader, error) {
	return newGzipReader(r)
}

// gzipReader goes back to the pool at the end of its input.
type gzipReader struct {
	zip *gzip.Reader
}

func newGzipReader(r io.Reader) (*gzipReader, error) {
	zip, ok := gzipReaders.Get().(*gzip.Reader)
	if !ok {
		zip = new(gzip.Reader)
	}
	if err := zip.Reset(r); err != nil {
		return nil, err
	}
	return &gzipReader{zip}, nil
}

func (z *gzipReader) Read(p []byte) (int, error) {
	if z.zip == nil {
		return 0, io.EOF
	}
	n, err := z.zip.Read(p)
	if err != nil {
		if err == io.EOF {
			gzipReaders.Put(z.zip)
		}
		z.zip = nil
	}
	return n, err
}

type zstdCompressor struct{}

func (zstdCompressor) Name() string { return "zstd" }

// Compress is for answers, which are empty.
func (zstdCompressor) Compress(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
}

func (zstdCompressor) Decompress(r io.Reader) (io.Reader, error) {
	return newZstdReader(r)
}

// zstdReader goes back to the pool at the end of its input.
type zstdReader struct {
	dec *zstd.Decoder
}

func newZstdReader(r io.Reader) (*zstdReader, error) {
	if dec, ok := zstdReaders.Get().(*zstd.Decoder); ok {
		if err := dec.Reset(r); err != nil {
			return nil, err
		}
		return &zstdReader{dec}, nil
	}
	dec, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRequestBytes))
	if err != nil {
		return nil, err
	}
	return &zstdReader{dec}, nil
}

func (z *zstdReader) Read(p []byte) (int, error) {
	if z.dec == nil {
		return 0, io.EOF
	}
	n, err := z.dec.Read(p)
	if err != nil {
		if err == io.EOF {
			zstdReaders.Put(z.dec)
		}
		z.dec = nil
	}
	return n, err
}
