//go:build cluster

// Package kubetest starts a real etcd and kube-apiserver on loopback, with TLS and RBAC, for tests
// with the build tag cluster. The binaries are those of KUBEBUILDER_ASSETS, else what make
// test-cluster built in bench/etcd and bench/apiserver.
package kubetest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"stint/scrape/kube"
)

const (
	adminToken = "kubetest-admin"
	readyIn    = 2 * time.Minute // 5 s on an idle machine
)

// Server is one API server and its etcd.
type Server struct {
	URL string
	CA  []byte // PEM

	dir    string
	etcd   *process
	api    *process
	client *kube.Client
	mapper meta.RESTMapper // which resource a kind is
	url    string          // of etcd
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

var shared *Server

// Main runs a package's tests with one server for all of them, which [Shared] returns. Call it from TestMain.
func Main(m *testing.M) int {
	s, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer s.close()
	shared = s
	return m.Run()
}

// Shared is the server of [Main].
func Shared() *Server { return shared }

func start() (_ *Server, err error) {
	dir, err := os.MkdirTemp("", "kubetest-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	s.url, s.URL = "http://"+ports[0], "https://"+ports[2]
	if s.CA, err = writeKeys(dir); err != nil {
		return nil, err
	}
	admin := adminToken + `,admin,admin,"system:masters"` + "\n"
	if err := os.WriteFile(s.file("tokens.csv"), []byte(admin), 0o600); err != nil {
		return nil, err
	}
	etcd, err := binary("etcd", "bench/etcd/etcd")
	if err != nil {
		return nil, err
	}
	apiserver, err := binary("kube-apiserver", "bench/apiserver/kube-apiserver")
	if err != nil {
		return nil, err
	}
	s.etcd = &process{path: etcd, log: s.file("etcd.log"), args: []string{
		"--data-dir=" + s.file("etcd"), "--listen-client-urls=" + s.url, "--advertise-client-urls=" + s.url,
		"--listen-peer-urls=http://" + ports[1], "--initial-advertise-peer-urls=http://" + ports[1], "--initial-cluster=default=http://" + ports[1],
		"--unsafe-no-fsync", "--log-level=warn",
	}}
	_, port, _ := net.SplitHostPort(ports[2])
	s.api = &process{path: apiserver, log: s.file("apiserver.log"), args: []string{
		"--etcd-servers=" + s.url, "--bind-address=127.0.0.1", "--secure-port=" + port, "--cert-dir=" + dir,
		"--tls-cert-file=" + s.file("server.crt"), "--tls-private-key-file=" + s.file("server.key"), "--client-ca-file=" + s.file("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + s.file("sa.key"), "--service-account-signing-key-file=" + s.file("sa.key"),
		"--token-auth-file=" + s.file("tokens.csv"), "--authorization-mode=RBAC",
		"--service-cluster-ip-range=10.0.0.0/24", "--endpoint-reconciler-type=none", "--profiling=false",
		// No controller makes a namespace's service account, without which a pod would be refused.
		"--disable-admission-plugins=ServiceAccount",
	}}
	if err := s.etcd.start(); err != nil {
		return nil, err
	}
	if err := s.api.start(); err != nil {
		return nil, err
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	if err := s.writeKubeconfig("admin", "default", adminToken); err != nil {
		return nil, err
	}
	s.client, err = kube.NewClient(kube.Config{Kubeconfig: s.AdminConfig()}, "kubetest")
	return s, err
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// close ends both and removes what they wrote.
func (s *Server) close() {
	for _, p := range []*process{s.api, s.etcd} {
		if p != nil {
			p.kill()
		}
	}
	os.RemoveAll(s.dir)
}

// Kill ends the API server at once. etcd stays.
func (s *Server) Kill() { s.api.kill() }

// Restart starts the API server again at the same address, if need be after killing it, and
// waits until it is ready.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.api.kill()
	if err := s.api.start(); err != nil {
		t.Fatal(err)
	}
	if err := s.ready(); err != nil {
		t.Fatal(err)
	}
}

// ready waits until the API server says so.
func (s *Server) ready() error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	ctx, cancel := context.WithTimeout(context.Background(), readyIn)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		r, _ := http.NewRequestWithContext(ctx, "GET", s.URL+"/readyz", nil)
		r.Header.Set("Authorization", "Bearer "+adminToken)
		resp, err := client.Do(r)
		if err == nil {
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			last = string(body)
		} else {
			last = err.Error()
		}
		select {
		case <-tick.C:
		case <-s.etcd.ended:
			return fmt.Errorf("etcd ended: %s", s.etcd.tail())
		case <-s.api.ended:
			return fmt.Errorf("kube-apiserver ended: %s", s.api.tail())
		case <-ctx.Done():
			return fmt.Errorf("kube-apiserver is not ready after %v: %s\n%s", readyIn, last, s.api.tail())
		}
	}
}

// Compact makes etcd forget all versions but the newest, so that a watch from an older one is
// answered with 410 once the API server's own cache is gone, too (Restart).
func (s *Server) Compact(t testing.TB, revision string) {
	t.Helper()
	resp, err := http.Post(s.url+"/v3/kv/compaction", "application/json", strings.NewReader(`{"revision": "`+revision+`", "physical": true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("compaction: %s %s", resp.Status, body)
	}
}

// process is one server program that can be started again.
type process struct {
	path, log string
	args      []string
	cmd       *exec.Cmd
	ended     chan struct{}
}

func (p *process) start() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	p.ended = ended
	go func() {
		p.cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	return nil
}

// kill ends it and waits for that.
func (p *process) kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	p.cmd.Process.Kill()
	<-p.ended
}

// tail is the end of its log.
func (p *process) tail() string {
	b, _ := os.ReadFile(p.log)
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-15):], []byte("\n")))
}

// binary finds a program in KUBEBUILDER_ASSETS, else below the module's root.
func binary(name, built string) (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		path := filepath.Join(dir, name)
		_, err := os.Stat(path)
		return path, err
	}
	_, here, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(here) {
		return "", errors.New("the module's root is unknown in a build with -trimpath; set KUBEBUILDER_ASSETS")
	}
	path := filepath.Join(filepath.Dir(here), "../../..", built)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w; run make test-cluster, or set KUBEBUILDER_ASSETS", err)
	}
	return path, nil
}

// freePorts are n loopback addresses that nobody listened on a moment ago.
func freePorts(n int) (addrs []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
