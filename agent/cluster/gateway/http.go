package gateway

import (
	"compress/zlib"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/rs/cors"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"stint/export"
	"stint/export/otlp"
	"stint/scrape/kube/lookup"
)

// newHTTP makes the server. A client that sends its headers or its body slowly is cut off.
func (g *Gateway) newHTTP(cfg *tls.Config) *http.Server {
	mux := http.NewServeMux()
	for s := range otlp.Signals {
		mux.HandleFunc("/v1/"+s.String(), func(w http.ResponseWriter, r *http.Request) { g.post(w, r, s) })
	}
	return &http.Server{
		Handler: g.cors(mux), TLSConfig: cfg, ConnContext: withConnected, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeaders,
	}
}

// cors answers browsers that ask what a page of another origin may do, and lets them show it the answers.
func (g *Gateway) cors(next http.Handler) http.Handler {
	c := g.cfg.CORS
	if len(c.AllowedOrigins) == 0 {
		return next
	}
	return cors.New(cors.Options{
		AllowedOrigins: c.AllowedOrigins, AllowedMethods: []string{http.MethodPost}, ExposedHeaders: []string{"Retry-After"},
		AllowedHeaders: append([]string{"Content-Type", "Content-Encoding", "Authorization"}, c.AllowedHeaders...), MaxAge: 3600,
	}).Handler(next)
}

const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

func (g *Gateway) post(w http.ResponseWriter, r *http.Request, signal otlp.Signal) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	answer := typeProtobuf
	if kind == typeJSON {
		answer = typeJSON
	}
	refuse := func(code int, reason string, text string) {
		g.stats.refused(signal, reason)
		writeStatus(w, answer, code, text)
	}
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		refuse(http.StatusMethodNotAllowed, "method", "only POST is taken here")
		return
	case err != nil || kind != typeProtobuf && kind != typeJSON:
		refuse(http.StatusUnsupportedMediaType, "content_type", fmt.Sprintf("the Content-Type %.100q is not taken; send %s or %s", r.Header.Get("Content-Type"), typeProtobuf, typeJSON))
		return
	case !g.allowed(r.Header.Get("Authorization")):
		refuse(http.StatusUnauthorized, "unauthorized", "the token in Authorization is missing or wrong")
		return
	}
	if reason, text := g.full(signal); reason != "" {
		g.stats.refused(signal, reason)
		g.passOver(r)
		writeLater(w, answer, http.StatusServiceUnavailable, text, busyFor())
		return
	}
	encoding := strings.ToLower(r.Header.Get("Content-Encoding"))
	body, err := decompressor(http.MaxBytesReader(w, r.Body, int64(g.cfg.MaxRequestBytes)), encoding)
	if err != nil {
		code := http.StatusBadRequest
		if errors.Is(err, errEncoding) {
			code = http.StatusUnsupportedMediaType
		}
		refuse(code, "encoding", err.Error())
		return
	}
	defer body.Close()
	client, size, claimed := hostOf(r.RemoteAddr), 0, 0
	if encoding == "" || encoding == "identity" || encoding == "snappy" {
		claimed = int(min(r.ContentLength, int64(g.cfg.MaxRequestBytes)))
	}
	defer func() { g.quota.give(client, size) }()
	may := func(n int) bool {
		ok := g.quota.take(client, n)
		if ok {
			size += n
		}
		return ok
	}
	slab, err := g.read(body, claimed, may)
	// What it is made into takes its place: a request as large as may be would be over the quota twice, and for ever.
	instead := func(n int) bool { return n <= size || may(n-size) }
	if err == nil && encoding == "snappy" {
		slab, err = g.fromSnappy(slab, instead)
	}
	if err == nil && kind == typeJSON {
		slab, err = g.fromJSON(signal, slab, instead)
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large) || errors.Is(err, errLarge):
		refuse(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("a request of over %d bytes, as protobuf and without compression, is not taken; send it in parts", g.cfg.MaxRequestBytes))
		return
	case errors.Is(err, errNoMemory):
		g.stats.refused(signal, "no_memory")
		g.passOver(r)
		writeLater(w, answer, http.StatusServiceUnavailable, "no memory for this request", busyFor())
		return
	case errors.Is(err, errQuota):
		g.stats.refused(signal, "quota")
		g.passOver(r)
		writeLater(w, answer, http.StatusTooManyRequests, "this client's requests take a quarter of the memory already", busyFor())
		return
	case errors.Is(err, otlp.ErrJSON):
		refuse(http.StatusBadRequest, "malformed", err.Error())
		return
	case err != nil:
		refuse(http.StatusBadRequest, "unreadable", "the body can't be read: "+err.Error())
		return
	}
	switch a := g.take(r.Context(), signal, slab, lookup.Client{Address: client, Connected: connectedOf(r.Context())}, r.Header.Get(export.BatchID)); a.refusal {
	case accepted:
		w.Header().Set("Content-Type", answer)
		if answer == typeJSON {
			m := map[string]any{}
			if a.warning != "" {
				m["partialSuccess"] = map[string]string{"errorMessage": a.warning}
			}
			json.NewEncoder(w).Encode(m)
			return
		}
		w.Write(a.response())
	case malformed:
		writeStatus(w, answer, http.StatusBadRequest, a.text)
	case tooLarge:
		writeStatus(w, answer, http.StatusRequestEntityTooLarge, a.text)
	case unwanted:
		writeStatus(w, answer, http.StatusNotFound, a.text)
	case greedy:
		writeLater(w, answer, http.StatusTooManyRequests, a.text, a.after)
	default:
		writeLater(w, answer, http.StatusServiceUnavailable, a.text, a.after)
	}
}

// passOver reads the rest of a body that nobody wants: a connection that is closed with something unread is reset, and the
// client never sees when it is to come back. Who waits for leave to send is not given it.
func (g *Gateway) passOver(r *http.Request) {
	if r.Header.Get("Expect") == "" {
		io.CopyN(io.Discard, r.Body, int64(g.cfg.MaxRequestBytes))
	}
}

// writeLater answers that the request is to come again.
func writeLater(w http.ResponseWriter, kind string, code int, text string, after time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
	writeStatus(w, kind, code, text)
}

// writeStatus answers with a google.rpc.Status.
func writeStatus(w http.ResponseWriter, kind string, code int, text string) {
	c := codes.InvalidArgument
	switch code {
	case http.StatusServiceUnavailable:
		c = codes.Unavailable
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		c = codes.ResourceExhausted
	case http.StatusUnauthorized:
		c = codes.Unauthenticated
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		c = codes.Unimplemented
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(code)
	if kind == typeJSON {
		json.NewEncoder(w).Encode(map[string]any{"code": int(c), "message": text})
		return
	}
	b, _ := proto.Marshal(&status.Status{Code: int32(c), Message: text}) // valid UTF-8 or not, it says nothing worse
	w.Write(b)
}

var (
	errLarge    = errors.New("too large")
	errNoMemory = errors.New("no memory")
	errQuota    = errors.New("over the client's quota")
	errEncoding = errors.New("not known")
)

// firstBytes of a body are read before memory is taken for it: who sends nothing gets none.
const firstBytes = 4 << 10

var firsts = sync.Pool{New: func() any { return new([firstBytes]byte) }}

// read reads a body into a slab, which grows as the body does. What it claims to be is no reason to take memory before
// the first slab is full, and then it says how much is enough; 0 or less: it is not known. may is asked for more.
func (g *Gateway) read(body io.Reader, claimed int, may func(n int) bool) (*otlp.Slab, error) {
	first := firsts.Get().(*[firstBytes]byte)
	defer firsts.Put(first)
	n, err := io.ReadFull(body, first[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	if !may(otlp.SlabSize) {
		return nil, errQuota
	}
	slab := g.pool.TryGet(otlp.SlabSize)
	if slab == nil {
		return nil, errNoMemory
	}
	slab.Buf = append(slab.Buf, first[:n]...)
	for {
		if len(slab.Buf) == cap(slab.Buf) {
			more := min(2*cap(slab.Buf), g.cfg.MaxRequestBytes+1)
			if claimed > cap(slab.Buf) {
				more = claimed + 1 // and a byte to see the end with
			}
			if int64(cap(slab.Buf)+more) > g.room {
				slab.Release()
				return nil, errLarge // at any time
			}
			if !may(more - cap(slab.Buf)) {
				slab.Release()
				return nil, errQuota
			}
			larger := g.pool.TryGet(more)
			if larger == nil {
				slab.Release()
				return nil, errNoMemory
			}
			larger.Buf = append(larger.Buf, slab.Buf...)
			slab.Release()
			slab = larger
		}
		n, err := body.Read(slab.Buf[len(slab.Buf):cap(slab.Buf)])
		slab.Buf = slab.Buf[:len(slab.Buf)+n]
		switch {
		case len(slab.Buf) > g.cfg.MaxRequestBytes:
			slab.Release()
			return nil, errLarge
		case err == io.EOF:
			return slab, nil
		case err != nil:
			slab.Release()
			return nil, err
		}
	}
}

// Readers are kept: one of zstd takes a megabyte.
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

// decompressor reads what is in body. What it gives is counted by who reads it. A body in snappy, which is one block,
// is given as it is.
func decompressor(body io.Reader, encoding string) (io.ReadCloser, error) {
	switch encoding {
	case "", "identity", "snappy":
		return io.NopCloser(body), nil
	case "gzip":
		z := gzipReaders.Get().(*gzip.Reader)
		if err := z.Reset(body); err != nil {
			return nil, fmt.Errorf("the body is no gzip: %w", err)
		}
		return closing{z, func() { gzipReaders.Put(z) }}, nil
	case "zstd":
		z := zstdReaders.Get().(*zstd.Decoder)
		if err := z.Reset(body); err != nil {
			return nil, fmt.Errorf("the body is no zstd: %w", err)
		}
		return closing{z, func() { z.Reset(nil); zstdReaders.Put(z) }}, nil
	case "deflate": // HTTP means zlib by it, and some senders do not
		z, err := zlib.NewReader(body)
		if err != nil {
			return nil, fmt.Errorf("the body is no deflate: %w", err)
		}
		return z, nil
	}
	return nil, fmt.Errorf("the Content-Encoding %.100q is %w; send gzip, zstd, deflate, snappy or none", encoding, errEncoding)
}

// closing is a reader that goes back to its pool.
type closing struct {
	io.Reader
	close func()
}

func (c closing) Close() error { c.close(); return nil }

// fromSnappy gives what a block is the compressed form of, as Prometheus sends it. The block's slab is released.
func (g *Gateway) fromSnappy(block *otlp.Slab, may func(n int) bool) (*otlp.Slab, error) {
	defer block.Release()
	n, err := snappy.DecodedLen(block.Buf)
	switch {
	case err != nil:
		return nil, fmt.Errorf("it is no snappy: %w", err)
	case n > g.cfg.MaxRequestBytes:
		return nil, errLarge
	case !may(n):
		return nil, errQuota
	}
	slab := g.pool.TryGet(n)
	if slab == nil {
		return nil, errNoMemory
	}
	slab.Buf = slab.Buf[:n]
	if _, err = snappy.Decode(slab.Buf, block.Buf); err != nil {
		slab.Release()
		return nil, fmt.Errorf("it is no snappy: %w", err)
	}
	return slab, nil
}
