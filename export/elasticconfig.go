package export

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"stint/export/elastic"
)

// Elasticsearch is a destination that speaks Elasticsearch's _bulk API: Elasticsearch itself,
// OpenSearch, VictoriaLogs.
type Elasticsearch struct {
	Endpoint         string         `yaml:"endpoint" doc:"base URL of a node, e.g. https://elasticsearch:9200; /_bulk is appended, a query stays"`
	Endpoints        []string       `yaml:"endpoints" doc:"base URLs of several nodes, which take turns; one that fails is left alone for 1s, then up to 1m"`
	LogsIndex        string         `yaml:"logs_index" doc:"index, alias or data stream for logs; empty: data streams logs-DATASET-NAMESPACE by the attributes data_stream.dataset (else generic) and data_stream.namespace (else default), of the record, else of its scope, else of its resource"`
	LogsDynamicIndex DynamicIndex   `yaml:"logs_dynamic_index" doc:"of logs_index"`
	LogstashFormat   LogstashFormat `yaml:"logstash_format" doc:"an index a day: the date stands behind logs_index"`
	Mapping          Mapping        `yaml:"mapping" doc:"shape of documents; a mode in place of the section will do"`
	Pipeline         string         `yaml:"pipeline" doc:"ingest pipeline that documents go through"`
	DocumentID       string         `yaml:"document_id" enum:"auto,none" doc:"auto: documents with the attribute k8s.event.uid, or with k8s.object.uid and k8s.object.resource_version, get an id made of their index and all they say but the time they were observed at, and are stored once however often they are sent; none: servers make the ids"`
	APIKey           Secret         `yaml:"api_key" doc:"encoded API key, sent as Authorization: ApiKey"`
	Compression      string         `yaml:"compression" enum:"none,gzip" doc:"how bodies are compressed; none needs up to 8 MiB of memory for each of two requests"`
	TLS              TLS            `yaml:"tls" doc:"transport security for https:// URLs"`
	Credentials
	ProxyURL       Secret        `yaml:"proxy_url" doc:"URL of the proxy to go through, e.g. http://proxy:3128; none: no proxy; empty: what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say, and none for names of a cluster's services"`
	Timeout        time.Duration `yaml:"timeout" doc:"an unanswered request is given up after this and sent again with twice the time, up to 1m; 100ms to 10m"`
	RetryOnFailure Retry         `yaml:"retry_on_failure" doc:"waiting times between attempts; attempts never end"`
}

// DynamicIndex is about names that attributes make.
type DynamicIndex struct {
	Enabled bool `yaml:"enabled" doc:"put the attributes elasticsearch.index.prefix and elasticsearch.index.suffix around logs_index: of the resource, else of the scope, else of the record"`
}

// LogstashFormat is about names with a date.
type LogstashFormat struct {
	Enabled         bool   `yaml:"enabled" doc:"append the separator and the date, in UTC, to logs_index"`
	PrefixSeparator string `yaml:"prefix_separator" doc:"stands between logs_index and the date"`
	DateFormat      string `yaml:"date_format" doc:"of %Y %y %m %d %H %j, and %G %V for the ISO week"`
	DateFrom        string `yaml:"date_from" enum:"record,export" doc:"record: the date of the record's own time; export: that of the request"`
}

// Mapping is the shape of documents.
type Mapping struct {
	Mode string `yaml:"mode" enum:"otel,ecs,none,bodymap" doc:"otel: as OpenTelemetry has it, for servers from 8.12 on; ecs: Elastic Common Schema; none: Body, Attributes.*, Resource.*; bodymap: the body, a map, is the document"`
}

// Shorthand is the key that a single value stands for.
func (Mapping) Shorthand() string { return "mode" }

func elasticsearchDefaults(retry Retry) *Elasticsearch {
	return &Elasticsearch{
		LogstashFormat: LogstashFormat{PrefixSeparator: "-", DateFormat: "%Y.%m.%d", DateFrom: "record"},
		Mapping:        Mapping{Mode: elastic.OTel}, DocumentID: "auto", Compression: "gzip",
		TLS: TLS{MinVersion: "1.2"}, Timeout: time.Minute, RetryOnFailure: retry,
	}
}

// Takes: logs. Metrics would need templates of their own.
func (c *Elasticsearch) Takes(signal string) bool { return signal == "logs" }

// URLs are the base URLs of the nodes, by their keys.
func (c *Elasticsearch) URLs() (keys, urls []string) {
	if c.Endpoint != "" {
		keys, urls = append(keys, "endpoint"), append(urls, c.Endpoint)
	}
	for i, u := range c.Endpoints {
		keys, urls = append(keys, fmt.Sprintf("endpoints[%d]", i)), append(urls, u)
	}
	return keys, urls
}

func (c *Elasticsearch) format() elastic.Format {
	f := elastic.Format{Mapping: c.Mapping.Mode, Index: c.LogsIndex, Dynamic: c.LogsDynamicIndex.Enabled, IDs: c.DocumentID == "auto"}
	if l := c.LogstashFormat; l.Enabled {
		f.Separator, f.Date, f.ByExport = l.PrefixSeparator, l.DateFormat, l.DateFrom == "export"
	}
	return f
}

// maxDynamic is how long logs_index with its date may be when up to 100 bytes stand before and
// behind it.
const maxDynamic = 55

func (c *Elasticsearch) check(path string) []error {
	var errs []error
	fault := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s.%s: %w", path, key, fmt.Errorf(format, args...)))
	}
	keys, urls := c.URLs()
	if len(urls) == 0 {
		fault("endpoint", "missing; give the URL of a node, e.g. https://elasticsearch:9200")
	}
	secure := false
	for i, key := range keys {
		u, err := url.Parse(urls[i])
		switch {
		case holdsLogin(urls[i]): // checked first: the faults below show the URL
			fault(key, "holds a user name or password; put them into user and password")
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
			fault(key, "%q is not an http or https URL; write e.g. https://elasticsearch:9200", urls[i])
		case u.Port() != "" && !validPort(u.Port()):
			fault(key, "port %s is out of range; give 1 to 65535", u.Port())
		case u.Fragment != "":
			fault(key, "a URL of a server has nothing behind #; remove it")
		case strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/_bulk"):
			fault(key, "ends in /_bulk, which is appended; remove it")
		}
		secure = secure || strings.HasPrefix(urls[i], "https://")
	}
	if c.TLS.Insecure && secure {
		fault("tls.insecure", "true, but a URL begins with https://; write http://, or insecure_skip_verify to accept any certificate")
	}
	f := c.format()
	switch {
	case c.LogsIndex == "":
		if f.Dynamic {
			fault("logs_dynamic_index.enabled", "there is no logs_index to put prefix and suffix around; give one, or remove this: data streams go by attributes anyway")
		}
		if f.Date != "" {
			fault("logstash_format.enabled", "there is no logs_index to put the date behind; give one")
		}
	default:
		if err := elastic.CheckIndex(c.LogsIndex); err != nil {
			fault("logs_index", "%w", err)
		} else if n := len(c.LogsIndex) + len(f.Separator) + len(f.Date) + 8; f.Dynamic && n > maxDynamic {
			fault("logs_index", "%d bytes, a date included, are too many with a prefix and a suffix of up to 100 each; give at most %d", n-8, maxDynamic-8)
		}
	}
	if c.LogstashFormat.Enabled {
		if err := elastic.CheckDate(c.LogstashFormat.DateFormat); err != nil {
			fault("logstash_format.date_format", "%w", err)
		}
		if err := elastic.CheckIndex("x" + c.LogstashFormat.PrefixSeparator); err != nil {
			fault("logstash_format.prefix_separator", "%q may not stand in the name of an index; use -", c.LogstashFormat.PrefixSeparator)
		}
	}
	if c.APIKey != "" {
		_, inHeaders := lookup(c.Headers, "authorization")
		_, inFiles := lookup(c.HeadersFile, "authorization")
		if c.User != "" || c.BearerToken != "" || c.BearerTokenFile != "" || inHeaders || inFiles {
			fault("api_key", "there are other credentials, too; a request has one: remove the others")
		}
		if !printable(c.APIKey.Reveal()) {
			fault("api_key", "holds a line break or control character; remove it")
		}
	}
	errs = append(errs, c.TLS.check(path+".tls")...)
	errs = append(errs, c.Credentials.check(path)...)
	errs = append(errs, checkProxy(path+".proxy_url", c.ProxyURL)...)
	return append(errs, common(path, c.Timeout, c.RetryOnFailure)...)
}

// lookup finds a header whatever its case.
func lookup[V any](headers map[string]V, name string) (v V, ok bool) {
	for k, v := range headers {
		if strings.EqualFold(k, name) {
			return v, true
		}
	}
	return v, false
}
