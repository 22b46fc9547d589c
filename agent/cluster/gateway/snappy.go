package gateway

import (
	"io"
	"sync"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/grpc/encoding"
)

// registerSnappy makes snappy known to grpc, in frames as Collectors send it. stint's own senders do not use it, and the
// agent does not link it.
var registerSnappy = sync.OnceFunc(func() { encoding.RegisterCompressor(framed{}) })

// framed is snappy's framing format. Readers are kept: they have 128 KiB each.
type framed struct{}

var framedReaders = sync.Pool{New: func() any { return snappy.NewReader(nil) }}

// Name implements encoding.Compressor.
func (framed) Name() string { return "snappy" }

// Compress implements encoding.Compressor: of answers, which are short and rarely have anything in them.
func (framed) Compress(w io.Writer) (io.WriteCloser, error) { return snappy.NewBufferedWriter(w), nil }

// Decompress implements encoding.Compressor. grpc closes what can be closed.
func (framed) Decompress(r io.Reader) (io.Reader, error) {
	z := framedReaders.Get().(*snappy.Reader)
	z.Reset(r)
	return closing{z, func() { z.Reset(nil); framedReaders.Put(z) }}, nil
}
