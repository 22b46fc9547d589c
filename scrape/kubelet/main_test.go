package kubelet

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// captured reads a file of a real kubelet, v1.37.2; see the repository's notes on test data.
func captured(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// capturedEvents are the messages of the captured stream; each has its length before it.
func capturedEvents(t testing.TB) [][]byte {
	t.Helper()
	var list [][]byte
	for data := captured(t, "podsapi_watch.bin"); len(data) > 0; {
		msg, n := protowire.ConsumeBytes(data)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		list, data = append(list, msg), data[n:]
	}
	return list
}

// capturedPods are the pods of the captured answer to /pods.
func capturedPods(t testing.TB) []*Pod {
	t.Helper()
	pods, bad, err := decodePods(bytes.NewReader(captured(t, "pods.json")), texts{})
	if err != nil || bad != nil {
		t.Fatal(err, bad)
	}
	return pods
}

// waitFor waits for something that another goroutine brings about.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("after 30s: no %s", what)
		}
	}
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// sign makes a serving certificate for an address or name, as the kubelet's.
func (a *authority) sign(t *testing.T, host string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "system:node:node-1"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		tmpl.IPAddresses = []net.IP{ip}
	} else {
		tmpl.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// pinOf is the pin of a certificate.
func pinOf(t *testing.T, c *tls.Certificate) string {
	t.Helper()
	cert, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// kubelet is an HTTPS server in the kubelet's place.
type kubelet struct {
	*httptest.Server
	cfg      Config // for a client of it
	ca       *authority
	cert     atomic.Pointer[tls.Certificate]
	handler  atomic.Pointer[http.HandlerFunc]
	requests atomic.Int64
	dials    atomic.Int64
	ends     atomic.Int64 // of connections
}

const goodToken = "eyJ.good.token"

func newKubelet(t *testing.T, handler http.HandlerFunc) *kubelet {
	t.Helper()
	dir := t.TempDir()
	k := &kubelet{ca: newAuthority(t)}
	k.cert.Store(k.ca.sign(t, "127.0.0.1"))
	k.handler.Store(&handler)
	k.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.requests.Add(1)
		(*k.handler.Load())(w, r)
	}))
	k.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	k.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			k.dials.Add(1)
		case http.StateClosed:
			k.ends.Add(1)
		}
	}
	k.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.cert.Load(), nil }}
	k.StartTLS()
	t.Cleanup(k.Close)
	// httptest puts a certificate of its own into the configuration; ours is asked for first.
	k.TLS.Certificates = nil
	k.cfg = Defaults()
	k.cfg.Endpoint, k.cfg.Timeout = k.URL, 10*time.Second
	k.cfg.CAFile, k.cfg.TokenFile = filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	k.cfg.PodsAPISocket = ""
	write(t, k.cfg.CAFile, k.ca.pem)
	write(t, k.cfg.TokenFile, []byte(goodToken+"\n"))
	return k
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (k *kubelet) client(t *testing.T, log *slog.Logger) *Client {
	t.Helper()
	c, err := NewClient(k.cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.closeIdle)
	return c
}

// serve answers /pods for the good token with body.
func serve(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+goodToken {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		if r.URL.Path != "/pods" {
			http.NotFound(w, r)
			return
		}
		w.Write(body)
	}
}

// podsAPI is a gRPC server in the place of the kubelet's Pods API.
type podsAPI struct {
	srv  *grpc.Server
	send chan []byte // to the watch that is there
	stop func()
}

// newPodsAPI sends first to each watch, then what comes in through send. The socket is that of a real server.
func newPodsAPI(t *testing.T, socket string, first ...[]byte) *podsAPI {
	t.Helper()
	a := &podsAPI{send: make(chan []byte)}
	return a.start(t, socket, func(stream grpc.ServerStream) error {
		for _, msg := range first {
			if err := stream.SendMsg(msg); err != nil {
				return err
			}
		}
		for {
			select {
			case msg := <-a.send:
				if err := stream.SendMsg(msg); err != nil {
					return err
				}
			case <-stream.Context().Done():
				return nil
			}
		}
	})
}

func (a *podsAPI) start(t *testing.T, socket string, watch func(grpc.ServerStream) error) *podsAPI {
	t.Helper()
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	a.srv = grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}))
	if watch != nil {
		a.srv.RegisterService(&grpc.ServiceDesc{ServiceName: "v1alpha1.Pods", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
			StreamName: "WatchPods", ServerStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error {
				var request []byte
				if err := stream.RecvMsg(&request); err != nil || len(request) > 0 {
					t.Errorf("the request is %x, %v, want an empty message", request, err)
				}
				return watch(stream)
			},
		}}}, nil)
	}
	var wg sync.WaitGroup
	wg.Go(func() { a.srv.Serve(ln) })
	a.stop = sync.OnceFunc(func() {
		a.srv.Stop()
		wg.Wait()
	})
	t.Cleanup(a.stop)
	return a
}

// socketPath is short enough for a socket, which t.TempDir may not be.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "k")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "pods-api.sock")
}

// event makes a message of the Pods API.
func event(kind uint64, pod []byte) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), kind)
	if pod != nil {
		b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), pod)
	}
	return b
}

// fast is a pace for tests: everything that is tried again is tried soon. Polls are an hour apart
// unless a test sets that.
var fast = pace{
	poll: time.Hour, refused: time.Hour, gap: time.Millisecond, absent: 5 * time.Millisecond,
	retryMin: time.Millisecond, retryMax: 5 * time.Millisecond, keep: time.Hour, sweep: time.Hour,
}

// running runs a table until the test ends.
func running(t *testing.T, cfg Config, pace pace) *Pods {
	t.Helper()
	client, err := NewClient(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPods(cfg, client, slog.New(slog.NewTextHandler(t.Output(), nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	p.pace = pace
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return p
}

// count reads a counter.
func count(t *testing.T, c prometheus.Metric) int {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return int(m.GetCounter().GetValue())
}
