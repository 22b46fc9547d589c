package sink

import (
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/encoding"
)

// grpc-go has no zstd of its own, and takes a compressor in an init function
// only: its registry has no lock.
func init() {
	encoding.RegisterCompressor(zstdCompressor{})
}

// zstdReaders holds *zstd.Decoder: making one costs more than most requests.
var zstdReaders sync.Pool

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
