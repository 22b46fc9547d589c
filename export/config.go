package export

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Batch says when a batch is closed: at whichever of its bounds is reached first.
type Batch struct {
	SendBatchSize     int           `yaml:"send_batch_size" unit:"records" doc:"a batch holds at most this many records; 1 to 1000000"`
	SendBatchMaxBytes int           `yaml:"send_batch_max_bytes" unit:"bytes" doc:"a batch holds at most this many bytes before compression; servers take 4 MiB by default; 65536 to 67108864"`
	Timeout           time.Duration `yaml:"timeout" doc:"a batch waits at most this long for more records; 10ms to 10m"`
}

// BatchDefaults: 10,000 records of the median 150 B plus attributes are about 2 MB; 4 MiB is what a
// gRPC server takes in one message unless told otherwise.
func BatchDefaults() Batch {
	return Batch{SendBatchSize: 10_000, SendBatchMaxBytes: 4 << 20, Timeout: 5 * time.Second}
}

// maxBatchBytes is the largest batch that can be configured.
const maxBatchBytes = 64 << 20

// Check reports every fault at once, each under its YAML path.
func (b Batch) Check() error {
	var errs []error
	if b.SendBatchSize < 1 || b.SendBatchSize > 1_000_000 {
		errs = append(errs, fmt.Errorf("batch.send_batch_size: %d is out of range; give 1 to 1000000", b.SendBatchSize))
	}
	if b.SendBatchMaxBytes < 64<<10 || b.SendBatchMaxBytes > maxBatchBytes {
		errs = append(errs, fmt.Errorf("batch.send_batch_max_bytes: %d is out of range; give 65536 to 67108864", b.SendBatchMaxBytes))
	}
	return errors.Join(append(errs, span("batch.timeout", b.Timeout, 10*time.Millisecond, 10*time.Minute))...)
}

// Exporter is the configuration of one destination: *OTLP, *OTLPHTTP, *Elasticsearch, *Loki, *File or *Debug.
type Exporter interface {
	Takes(signal string) bool // whether it can be given records of this signal
	check(path string) []error
}

// Exporters are the destinations by name: a type, or type/name where there are several of a type.
type Exporters map[string]Exporter

// Kinds lists the types of exporters.
func (Exporters) Kinds() []string {
	return []string{"otlp", "otlphttp", "elasticsearch", "loki", "file", "debug"}
}

// NewValue gives the configuration that an exporter of this name begins with, for decoding into.
func (e Exporters) NewValue(name string) (any, error) {
	kind, rest, named := strings.Cut(name, "/")
	if named && rest == "" {
		return nil, fmt.Errorf("%q has no name after the slash; write %s or %s/NAME", name, kind, kind)
	}
	retry := Retry{InitialInterval: time.Second, MaxInterval: 30 * time.Second}
	switch kind {
	case "otlp":
		return &OTLP{TLS: TLS{MinVersion: "1.2"}, Compression: "gzip", Timeout: 10 * time.Second, RetryOnFailure: retry}, nil
	case "otlphttp":
		return &OTLPHTTP{TLS: TLS{MinVersion: "1.2"}, Encoding: "proto", Compression: "gzip", PromoteResource: "auto", Timeout: 30 * time.Second, RetryOnFailure: retry}, nil
	case "elasticsearch":
		return elasticsearchDefaults(retry), nil
	case "loki":
		return &Loki{Labels: slices.Clone(lokiLabels), TLS: TLS{MinVersion: "1.2"}, Compression: "gzip", Timeout: 30 * time.Second, RetryOnFailure: retry}, nil
	case "file":
		return &File{Rotation: Rotation{MaxMegabytes: 100, MaxBackups: 10}}, nil
	case "debug":
		return &Debug{Verbosity: "basic"}, nil
	}
	return nil, fmt.Errorf("there is no exporter of type %q; write TYPE or TYPE/NAME with TYPE one of %s", kind, strings.Join(e.Kinds(), ", "))
}

// Check reports every fault at once, each under its YAML path.
func (e Exporters) Check() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(e)) {
		errs = append(errs, e[name].check(join("exporters", name))...)
	}
	return errors.Join(errs...)
}

// OTLP is a destination that speaks OTLP over gRPC.
type OTLP struct {
	Endpoint    string `yaml:"endpoint" doc:"host:port; http:// or https:// in front decides over tls.insecure; or a Unix socket, unix:///run/x.sock, in plain text"`
	Compression string `yaml:"compression" enum:"none,gzip,zstd" doc:"how requests are compressed; zstd takes about 0.6 of gzip's CPU time"`
	TLS         TLS    `yaml:"tls" doc:"transport security; on unless insecure"`
	Credentials
	ProxyURL       Secret        `yaml:"proxy_url" doc:"URL of the proxy to go through, e.g. http://proxy:3128; none: no proxy; empty: what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say, and none for names of a cluster's services"`
	Timeout        time.Duration `yaml:"timeout" doc:"an unanswered request is given up after this and sent again with twice the time, up to 1m; 100ms to 10m"`
	RetryOnFailure Retry         `yaml:"retry_on_failure" doc:"waiting times between attempts; attempts never end"`
}

// Takes: every signal.
func (o *OTLP) Takes(string) bool { return true }

// Target gives host:port without a scheme, or the URL of a Unix socket, and whether the connection
// is to be plain text.
func (o *OTLP) Target() (hostport string, plain bool) {
	if _, ok := Socket(o.Endpoint); ok {
		return o.Endpoint, true
	}
	if rest, ok := strings.CutPrefix(o.Endpoint, "http://"); ok {
		return strings.TrimSuffix(rest, "/"), true
	}
	if rest, ok := strings.CutPrefix(o.Endpoint, "https://"); ok {
		return strings.TrimSuffix(rest, "/"), false
	}
	return o.Endpoint, o.TLS.Insecure
}

func (o *OTLP) check(path string) []error {
	var errs []error
	target, plain := o.Target()
	socket, local := Socket(target)
	switch _, err := splitHostPort(target); {
	case local:
		errs = append(errs, checkSocket(path+".endpoint", socket)...)
	case o.Endpoint == "":
		errs = append(errs, fmt.Errorf("%s.endpoint: missing; give the receiver's host:port, e.g. stint-cluster:4317", path))
	case strings.Contains(target, "@"):
		errs = append(errs, fmt.Errorf("%s.endpoint: holds a user name or password; put credentials into headers", path))
	case err != nil:
		errs = append(errs, fmt.Errorf("%s.endpoint: %q is not host:port (%w); write e.g. stint-cluster:4317", path, o.Endpoint, err))
	}
	if o.TLS.Insecure && !plain {
		errs = append(errs, fmt.Errorf("%s.tls.insecure: true, but endpoint begins with https://; remove one of the two", path))
	}
	errs = append(errs, o.TLS.check(path+".tls")...)
	errs = append(errs, o.Credentials.check(path)...)
	errs = append(errs, checkProxy(path+".proxy_url", o.ProxyURL)...)
	for key, names := range map[string][]string{
		"headers": slices.Collect(maps.Keys(o.Headers)), "headers_file": slices.Collect(maps.Keys(o.HeadersFile)),
	} {
		for _, name := range names {
			if strings.HasPrefix(strings.ToLower(name), "grpc-") {
				errs = append(errs, fmt.Errorf("%s: gRPC keeps names that begin with grpc- for itself; use another name", join(path+"."+key, name)))
			}
		}
	}
	return append(errs, common(path, o.Timeout, o.RetryOnFailure)...)
}

// OTLPHTTP is a destination that speaks OTLP over HTTP with protobuf bodies.
type OTLPHTTP struct {
	Endpoint        string `yaml:"endpoint" doc:"base URL; /v1/logs and /v1/metrics are appended; one that ends in /api/v1/otlp is Prometheus, which takes metrics only; or a Unix socket, unix:///run/x.sock, in plain text"`
	LogsEndpoint    string `yaml:"logs_endpoint" doc:"URL for logs, used as it is; without it and endpoint this exporter takes no logs"`
	TracesEndpoint  string `yaml:"traces_endpoint" doc:"URL for traces, used as it is; without it and endpoint this exporter takes no traces"`
	MetricsEndpoint string `yaml:"metrics_endpoint" doc:"URL for metrics, used as it is; without it and endpoint this exporter takes no metrics"`
	Encoding        string `yaml:"encoding" enum:"proto,json" doc:"how records are written; json for receivers that take no protobuf"`
	Compression     string `yaml:"compression" enum:"none,gzip,zstd" doc:"how bodies are compressed; Prometheus takes gzip or none, and gets gzip in place of zstd once it has said so"`
	TLS             TLS    `yaml:"tls" doc:"transport security for https:// URLs"`
	Credentials
	ProxyURL        Secret        `yaml:"proxy_url" doc:"URL of the proxy to go through, e.g. http://proxy:3128; none: no proxy; empty: what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say, and none for names of a cluster's services"`
	PromoteResource string        `yaml:"promote_resource" enum:"auto,on,off" doc:"copy what identifies a resource (node, pod, container, ...) onto its metric points: Prometheus makes labels of those alone, and takes two pods for one without; auto: for URLs of Prometheus (/api/v1/otlp/v1/metrics)"`
	Timeout         time.Duration `yaml:"timeout" doc:"an unanswered request is given up after this and sent again with twice the time, up to 1m; 100ms to 10m"`
	RetryOnFailure  Retry         `yaml:"retry_on_failure" doc:"waiting times between attempts; attempts never end"`
}

// Takes: the signals that have a URL.
func (o *OTLPHTTP) Takes(signal string) bool { return o.URL(signal) != "" }

// URL is where records of the signal go; empty if nowhere.
func (o *OTLPHTTP) URL(signal string) string {
	own := ""
	switch signal {
	case "logs":
		own = o.LogsEndpoint
	case "metrics":
		own = o.MetricsEndpoint
	case "traces":
		own = o.TracesEndpoint
	}
	if own != "" || o.Endpoint == "" || isPrometheus(o.Endpoint) && signal != "metrics" {
		return own
	}
	if _, ok := Socket(o.Endpoint); ok {
		return "http://localhost/v1/" + signal
	}
	return strings.TrimSuffix(o.Endpoint, "/") + "/v1/" + signal
}

func (o *OTLPHTTP) check(path string) []error {
	var errs []error
	if o.Endpoint == "" && o.LogsEndpoint == "" && o.MetricsEndpoint == "" && o.TracesEndpoint == "" {
		errs = append(errs, fmt.Errorf("%s.endpoint: missing; give the receiver's URL, e.g. http://collector:4318", path))
	}
	secure := false
	socket, local := Socket(o.Endpoint)
	if local {
		errs = append(errs, checkSocket(path+".endpoint", socket)...)
	}
	for _, e := range []struct{ key, url string }{
		{"endpoint", o.Endpoint}, {"logs_endpoint", o.LogsEndpoint}, {"metrics_endpoint", o.MetricsEndpoint}, {"traces_endpoint", o.TracesEndpoint},
	} {
		if e.url == "" || local && e.key == "endpoint" {
			continue
		}
		u, _ := url.Parse(e.url)
		switch faults := checkURL(path+"."+e.key, e.url, "http://collector:4318"); {
		case local:
			errs = append(errs, fmt.Errorf("%s.%s: endpoint is a Unix socket, which everything goes to; use another exporter for this URL", path, e.key))
		case len(faults) > 0:
			errs = append(errs, faults...)
		case e.key == "endpoint" && (u.RawQuery != "" || u.Fragment != ""):
			errs = append(errs, fmt.Errorf("%s.%s: /v1/logs cannot be appended after ? or #; use logs_endpoint and metrics_endpoint", path, e.key))
		}
		secure = secure || strings.HasPrefix(e.url, "https://")
	}
	if o.TLS.Insecure && secure {
		errs = append(errs, fmt.Errorf("%s.tls.insecure: true, but a URL begins with https://; write http://, or insecure_skip_verify to accept any certificate", path))
	}
	errs = append(errs, o.TLS.check(path+".tls")...)
	errs = append(errs, o.Credentials.check(path)...)
	errs = append(errs, checkProxy(path+".proxy_url", o.ProxyURL)...)
	return append(errs, common(path, o.Timeout, o.RetryOnFailure)...)
}

// TLS is the client's side of transport security.
type TLS struct {
	Insecure           bool   `yaml:"insecure" doc:"plain text, no TLS"`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify" doc:"accept any certificate: anyone on the way can read and change everything"`
	CAFile             string `yaml:"ca_file" doc:"PEM file of the authorities trusted for the server's certificate; empty: those of the system"`
	CertFile           string `yaml:"cert_file" doc:"PEM file of the client's certificate; together with key_file"`
	KeyFile            string `yaml:"key_file" doc:"PEM file of the client's key"`
	MinVersion         string `yaml:"min_version" enum:"1.2,1.3" doc:"oldest version of TLS that is spoken"`
	ServerName         string `yaml:"server_name_override" doc:"name expected in the server's certificate; empty: the endpoint's host"`
}

func (t TLS) check(path string) []error {
	var errs []error
	if t.CertFile != "" && t.KeyFile == "" {
		errs = append(errs, fmt.Errorf("%s.key_file: missing, but cert_file is set; give both or none", path))
	}
	if t.KeyFile != "" && t.CertFile == "" {
		errs = append(errs, fmt.Errorf("%s.cert_file: missing, but key_file is set; give both or none", path))
	}
	return errs
}

// Retry is the back-off after a failed attempt: a random time up to a bound that doubles each time.
type Retry struct {
	InitialInterval time.Duration `yaml:"initial_interval" doc:"bound of the first wait; at least 10ms"`
	MaxInterval     time.Duration `yaml:"max_interval" doc:"the bound doubles up to this; at most 1h"`
}

// common checks what all destinations on the network have.
func common(path string, timeout time.Duration, r Retry) []error {
	errs := []error{
		span(path+".timeout", timeout, 100*time.Millisecond, 10*time.Minute),
		span(path+".retry_on_failure.initial_interval", r.InitialInterval, 10*time.Millisecond, time.Hour),
		span(path+".retry_on_failure.max_interval", r.MaxInterval, 10*time.Millisecond, time.Hour),
	}
	if r.MaxInterval < r.InitialInterval {
		errs = append(errs, fmt.Errorf("%s.retry_on_failure.max_interval: %s is under initial_interval (%s); give at least that", path, short(r.MaxInterval), short(r.InitialInterval)))
	}
	return errs
}

// Spool says what is kept on disk for destinations that do not take data now. Logs need it only when
// their files are about to vanish: they wait in these.
type Spool struct {
	Enabled  bool          `yaml:"enabled" doc:"keep metrics on disk, below state_dir, while a destination is away, and over a restart, and logs whose files are about to be given up (tail.max_deleted_bytes); false: up to 4 MiB of metrics wait in memory"`
	MaxBytes int64         `yaml:"max_bytes" unit:"bytes" doc:"for each exporter, whatever its pipelines, so that several exporters may take several times as much; a twentieth of the disk, or 1 GiB, always stays free; at least 16777216"`
	MaxAge   time.Duration `yaml:"max_age" doc:"what is older is not delivered any more; at least 1m"`
	WhenFull string        `yaml:"when_full" enum:"drop_oldest,refuse" doc:"what goes over max_bytes, and when too little of the disk is free; drop_oldest: the oldest 8 MiB, or an eighth of max_bytes; refuse: what is new, but for 4 MiB that wait in memory; either is counted; logs that are read from files are always refused, and wait in these; what the gateway receives then gets a refusal"`
}

// Values of Spool.WhenFull.
const (
	dropOldest = "drop_oldest"
	refuse     = "refuse"
)

// SpoolDefaults: a node of 110 pods makes 100 KB of metrics each 10 s, 860 MB a day; 256 MiB are seven hours.
func SpoolDefaults() Spool {
	return Spool{Enabled: true, MaxBytes: 256 << 20, MaxAge: 24 * time.Hour, WhenFull: dropOldest}
}

// Check reports every fault at once, each under its YAML path.
func (s Spool) Check() error {
	var errs []error
	if s.MaxBytes < 16<<20 {
		errs = append(errs, fmt.Errorf("spool.max_bytes: %d is under 16 MiB; give 16777216 or more, or spool.enabled: false", s.MaxBytes))
	}
	if s.MaxAge < time.Minute {
		errs = append(errs, fmt.Errorf("spool.max_age: %s is under a minute; give 1m or more", short(s.MaxAge)))
	}
	if s.WhenFull != dropOldest && s.WhenFull != refuse {
		errs = append(errs, fmt.Errorf("spool.when_full: %q; give %s or %s", s.WhenFull, dropOldest, refuse))
	}
	return errors.Join(errs...)
}

// Socket is the path of the Unix socket that an endpoint names.
func Socket(endpoint string) (path string, ok bool) {
	if path, ok = strings.CutPrefix(endpoint, "unix://"); !ok {
		return "", false
	}
	return path, true
}

// checkSocket: the kernel's bound of a path is 108 bytes with a zero at the end (unix(7)).
func checkSocket(path, socket string) []error {
	if !strings.HasPrefix(socket, "/") || len(socket) > 107 {
		return []error{fmt.Errorf("%s: %q is not the absolute path of a Unix socket, at most 107 bytes; write e.g. unix:///run/x.sock", path, socket)}
	}
	return nil
}

// span checks that a time lies between two bounds.
func span(path string, d, least, most time.Duration) error {
	if d < least || d > most {
		return fmt.Errorf("%s: %s is out of range; give %s to %s", path, short(d), short(least), short(most))
	}
	return nil
}

// short is a time without the zeros that Duration.String appends: 10m, not 10m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// join appends a key of a map to a path, in quotes where it would not be read back as one key.
func join(path, key string) string {
	if key == "" || strings.ContainsAny(key, ".[]\"=: \t\n") {
		key = strconv.Quote(key)
	}
	return path + "." + key
}

// splitHostPort is net.SplitHostPort with the port's number checked.
func splitHostPort(s string) (host string, err error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		var a *net.AddrError
		if errors.As(err, &a) {
			return "", errors.New(a.Err)
		}
		return "", err
	}
	if host == "" || strings.ContainsAny(host, "/ ?#") {
		return "", errors.New("no host name")
	}
	if !validPort(port) {
		return "", fmt.Errorf("port %q is not 1 to 65535", port)
	}
	return host, nil
}

func validPort(port string) bool {
	n, err := strconv.Atoi(port)
	return err == nil && n >= 1 && n <= 65535
}

// checkURL checks the URL of a destination that speaks HTTP.
func checkURL(path, text, example string) []error {
	u, err := url.Parse(text)
	switch {
	case holdsLogin(text): // checked first: the faults below show the URL
		return []error{fmt.Errorf("%s: holds a user name or password; put credentials into user and password, or headers", path)}
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return []error{fmt.Errorf("%s: %q is not an http or https URL; write e.g. %s", path, text, example)}
	case u.Port() != "" && !validPort(u.Port()):
		return []error{fmt.Errorf("%s: port %s is out of range; give 1 to 65535", path, u.Port())}
	}
	return nil
}

// holdsLogin says whether a URL has a user name or password before its host, or may have, if it is none.
func holdsLogin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.User != nil || (err != nil || u.Host == "") && strings.Contains(text, "@")
}
