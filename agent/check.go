package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stint/agent/process"
	"stint/export"
	"stint/tail"
)

// Finding is what a look at the machine or at a destination says about one setting.
type Finding struct {
	Level Level
	Path  string // the setting
	Text  string
}

// Level is how a finding came out.
type Level string

// OK: works. Warn: works, but maybe not as meant. Fail: does not work now.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

func (f Finding) String() string { return fmt.Sprintf("%-4s %s: %s", f.Level, f.Path, f.Text) }

const (
	dialTimeout  = 3 * time.Second
	probeTimeout = 5 * time.Second // a file system or resolver that hangs is a finding, too
)

// CheckMachine looks whether this machine and the destinations allow what a faultless configuration
// asks for. It changes nothing. It takes at most probeTimeout.
func CheckMachine(ctx context.Context, cfg *Config) []Finding {
	type probe struct {
		path string
		look func(context.Context) []Finding
	}
	probes := []probe{
		{"state_dir", func(context.Context) []Finding { return one("state_dir", lookStateDir(cfg.StateDir)) }},
		{"admin.listen", func(ctx context.Context) []Finding { return lookListen(ctx, "admin.listen", cfg.Admin.Listen) }},
		{"health.listen", func(ctx context.Context) []Finding { return lookListen(ctx, "health.listen", cfg.Health.Listen) }},
		{"tail.containers.root", func(context.Context) []Finding { return lookContainers(cfg.Tail.Containers.Root) }},
	}
	for i, f := range cfg.Tail.Files {
		for j, glob := range f.Include {
			path := fmt.Sprintf("tail.files[%d].include[%d]", i, j)
			probes = append(probes, probe{path, func(context.Context) []Finding { return one(path, lookGlob(glob)) }})
		}
	}
	if cfg.Scrape.Host.Enabled {
		probes = append(probes, probe{"scrape.root_path", func(context.Context) []Finding { return one("scrape.root_path", lookRoot(cfg.Scrape.RootPath)) }})
	}
	if k := cfg.Scrape.Kubelet; k.On() {
		endpoint := kubeletEndpoint(cfg)
		probes = append(probes, probe{"scrape.kubelet.endpoint", func(ctx context.Context) []Finding {
			u, err := url.Parse(endpoint)
			if err != nil {
				return nil // Check has said so
			}
			if k.Address != "" {
				u.Host = strings.TrimSuffix(net.JoinHostPort(k.Address, u.Port()), ":")
			}
			level, text := dial(ctx, "none", u)
			return one("scrape.kubelet.endpoint", finding{level, text})
		}})
	}
	probes = append(probes, probe{"journald", func(context.Context) []Finding {
		on, why := cfg.Journald.On()
		if !on {
			why = "not followed: " + why
		}
		return one("journald", finding{OK, why})
	}})
	for _, name := range slices.Sorted(maps.Keys(cfg.Exporters)) {
		path := "exporters." + name
		probes = append(probes, probe{path, func(ctx context.Context) []Finding {
			return lookExporter(ctx, path, name, cfg)
		}})
	}
	if len(cfg.Exporters) == 0 {
		probes = append(probes, probe{"exporters", func(context.Context) []Finding {
			return one("exporters", finding{Warn, "none is configured; everything goes to the sink inside the agent"})
		}})
	}

	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	results := make([]chan []Finding, len(probes))
	for i, p := range probes {
		results[i] = make(chan []Finding, 1)
		go func() { results[i] <- p.look(ctx) }() // not waited for if the kernel does not answer it
	}
	var all []Finding
	for i, p := range probes {
		select {
		case fs := <-results[i]:
			all = append(all, fs...)
		case <-ctx.Done():
			select { // it may be there all the same
			case fs := <-results[i]:
				all = append(all, fs...)
			default:
				all = append(all, Finding{Fail, p.path, fmt.Sprintf("no answer within %v", probeTimeout)})
			}
		}
	}
	return all
}

// finding is a Finding whose path its caller knows.
type finding struct {
	level Level
	text  string
}

func one(path string, f finding) []Finding { return []Finding{{f.level, path, f.text}} }

func lookStateDir(dir string) finding {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && process.CanMake(dir):
		return finding{OK, dir + " will be made"}
	case errors.Is(err, fs.ErrNotExist):
		return finding{Fail, dir + " cannot be made; make it, or set state_dir to a directory this user can write"}
	case err != nil:
		return finding{Fail, err.Error()}
	case !info.IsDir():
		return finding{Fail, dir + " is not a directory"}
	case unix.Access(dir, unix.W_OK|unix.X_OK) != nil:
		return finding{Fail, dir + " cannot be written; set state_dir to a directory this user can write"}
	}
	return finding{OK, dir + " can be written"}
}

func lookListen(ctx context.Context, path, addr string) []Finding {
	if addr == "" {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		text := inner(err).Error()
		if errors.Is(err, unix.EADDRINUSE) {
			text = "is in use; stop what uses it (a running stint-agent?) or choose another port"
		}
		return one(path, finding{Fail, addr + ": " + text})
	}
	l.Close()
	return one(path, finding{OK, addr + " is free"})
}

func lookContainers(root string) []Finding {
	const path = "tail.containers.root"
	if root == "" {
		return nil
	}
	d, err := os.Open(root)
	if errors.Is(err, fs.ErrNotExist) {
		return one(path, finding{Warn, root + " does not exist; container logs are read as soon as it does"})
	}
	if err != nil {
		return one(path, finding{Fail, inner(err).Error() + " on " + root + "; run as root or as a user that may read it"})
	}
	defer d.Close()
	pods, err := d.Readdirnames(10_000)
	if err != nil && err != io.EOF {
		return one(path, finding{Fail, root + ": " + inner(err).Error()})
	}
	files, denied := 0, 0
	for _, pod := range pods {
		logs, _ := filepath.Glob(filepath.Join(escape(root), escape(pod), "*", "*.log"))
		for _, log := range logs {
			if files++; unix.Access(log, unix.R_OK) != nil {
				denied++
			}
		}
	}
	if denied > 0 {
		return one(path, finding{Fail, fmt.Sprintf("%s: %d of %d logs cannot be read; run as root or as a user that may read them", root, denied, files)})
	}
	return one(path, finding{OK, fmt.Sprintf("%s: %d logs of %d pods", root, files, len(pods))})
}

// escape makes a glob that matches s alone.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

func lookGlob(glob string) finding {
	paths := tail.Expand(glob)
	denied := slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return unix.Access(p, unix.R_OK) == nil })
	switch {
	case len(paths) == 0:
		return finding{Warn, glob + " matches nothing now"}
	case len(denied) > 0:
		return finding{Warn, fmt.Sprintf("%s matches %d files, of which %d cannot be read, e.g. %s; run as root or as a user that may read them", glob, len(paths), len(denied), denied[0])}
	case len(paths) == 1:
		return finding{OK, glob + " matches 1 file"}
	}
	return finding{OK, fmt.Sprintf("%s matches %d files", glob, len(paths))}
}

func lookRoot(root string) finding {
	stat := filepath.Join(root, "proc/stat")
	if f, err := os.Open(stat); err != nil {
		return finding{Fail, stat + ": " + inner(err).Error() + "; give the directory under which the host's /proc is seen"}
	} else if err := f.Close(); err != nil {
		return finding{Fail, err.Error()}
	}
	return finding{OK, stat + " can be read"}
}

// lookExporter checks the TLS files and connects to every address of one exporter.
func lookExporter(ctx context.Context, path, name string, cfg *Config) []Finding {
	var all []Finding
	used := false
	for _, p := range cfg.Pipelines {
		used = used || slices.Contains(p.Exporters, name)
	}
	if !used {
		all = append(all, Finding{Warn, path, "is in no pipeline and gets nothing"})
	}
	switch e := cfg.Exporters[name].(type) {
	case *export.OTLP:
		target, plain := e.Target()
		all = append(all, Finding{Path: path + ".endpoint"})
		last := &all[len(all)-1]
		if socket, ok := export.Socket(target); ok {
			last.Level, last.Text = dialSocket(ctx, socket)
		} else {
			last.Level, last.Text = dial(ctx, e.ProxyURL, &url.URL{Scheme: "https", Host: target}) // gRPC goes through HTTPS_PROXY in plain text, too
		}
		if !plain {
			all = append(all, lookTLS(path+".tls", e.TLS)...)
		}
		all = append(all, lookCredentials(path, e.Credentials)...)
	case *export.OTLPHTTP:
		for _, u := range []struct{ key, url string }{
			{"endpoint", e.Endpoint}, {"logs_endpoint", e.LogsEndpoint}, {"metrics_endpoint", e.MetricsEndpoint}, {"traces_endpoint", e.TracesEndpoint},
		} {
			if u.url == "" {
				continue
			}
			to, err := url.Parse(u.url)
			if err != nil {
				continue // Check has said so
			}
			if socket, ok := export.Socket(u.url); ok {
				level, text := dialSocket(ctx, socket)
				all = append(all, Finding{level, path + "." + u.key, text})
				continue
			}
			level, text := dial(ctx, e.ProxyURL, to)
			all = append(all, Finding{level, path + "." + u.key, text})
		}
		all = append(all, lookTLS(path+".tls", e.TLS)...)
		all = append(all, lookCredentials(path, e.Credentials)...)
	case *export.Elasticsearch:
		keys, urls := e.URLs()
		for i, key := range keys {
			to, err := url.Parse(urls[i])
			if err != nil {
				continue // Check has said so
			}
			level, text := dial(ctx, e.ProxyURL, to)
			all = append(all, Finding{level, path + "." + key, text})
		}
		all = append(all, lookTLS(path+".tls", e.TLS)...)
		all = append(all, lookCredentials(path, e.Credentials)...)
	case *export.Loki:
		if to, err := url.Parse(e.URL()); err == nil { // Check has said so
			level, text := dial(ctx, e.ProxyURL, to)
			all = append(all, Finding{level, path + ".endpoint", text})
		}
		all = append(all, lookTLS(path+".tls", e.TLS)...)
		all = append(all, lookCredentials(path, e.Credentials)...)
	}
	return all
}

// lookCredentials reads the files that credentials are in.
func lookCredentials(path string, c export.Credentials) []Finding {
	var all []Finding
	files := c.Files()
	for _, key := range slices.Sorted(maps.Keys(files)) {
		f := Finding{OK, path + "." + key, files[key] + " can be read"}
		if _, err := export.ReadCredential(files[key]); err != nil {
			f.Level, f.Text = Fail, err.Error()
		}
		all = append(all, f)
	}
	return all
}

func dialSocket(ctx context.Context, path string) (Level, string) {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", path)
	if err != nil {
		return Fail, path + ": " + inner(err).Error()
	}
	defer conn.Close()
	return OK, path + " accepts connections"
}

// dial opens a TCP connection to where requests for u go, which may be a proxy.
func dial(ctx context.Context, proxyURL export.Secret, u *url.URL) (Level, string) {
	addr, via := u.Host, ""
	if u.Port() == "" {
		port := "443"
		if u.Scheme == "http" {
			port = "80"
		}
		addr = net.JoinHostPort(u.Hostname(), port)
	}
	if proxy, err := export.Proxy(proxyURL)(u); err == nil && proxy != nil {
		port := proxy.Port()
		if port == "" && proxy.Scheme == "https" {
			port = "443"
		} else if port == "" {
			port = "80"
		}
		via = " through the proxy " + net.JoinHostPort(proxy.Hostname(), port)
		addr = net.JoinHostPort(proxy.Hostname(), port)
	}
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "tcp", addr)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return Fail, fmt.Sprintf("%s%s: the name %s cannot be resolved: %s", u.Host, via, dns.Name, dns.Err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return Fail, fmt.Sprintf("%s%s: no answer within %v", u.Host, via, dialTimeout)
	case err != nil:
		return Fail, u.Host + via + ": " + inner(err).Error()
	}
	defer conn.Close()
	return OK, u.Host + via + " accepts connections, at " + conn.RemoteAddr().String()
}

func lookTLS(path string, t export.TLS) []Finding {
	var all []Finding
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		switch {
		case err != nil:
			all = append(all, Finding{Fail, path + ".ca_file", t.CAFile + ": " + inner(err).Error()})
		case !x509.NewCertPool().AppendCertsFromPEM(pem):
			all = append(all, Finding{Fail, path + ".ca_file", t.CAFile + " holds no certificate in PEM"})
		default:
			all = append(all, Finding{OK, path + ".ca_file", t.CAFile + " holds certificates"})
		}
	}
	if t.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
			all = append(all, Finding{Fail, path + ".cert_file", err.Error()})
		} else {
			all = append(all, Finding{OK, path + ".cert_file", t.CertFile + " and its key fit together"})
		}
	}
	if t.InsecureSkipVerify {
		all = append(all, Finding{Warn, path + ".insecure_skip_verify", "any certificate is accepted: who sits in between can read and change everything"})
	}
	return all
}

// inner is the cause of an error of a file or connection, without the name, which the caller has said.
func inner(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
