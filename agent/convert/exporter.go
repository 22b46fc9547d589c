package convert

import (
	"maps"
	"slices"
	"strings"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// sameKeys are keys that an exporter of the Collector has as stint's has them, by type.
var sameKeys = map[string][]string{
	"otlp":          {"endpoint", "timeout", "headers"},
	"otlphttp":      {"endpoint", "logs_endpoint", "metrics_endpoint", "traces_endpoint", "encoding", "timeout", "headers"},
	"elasticsearch": {"endpoint", "endpoints", "logs_index", "pipeline", "user", "password", "api_key", "timeout", "headers"},
	"loki":          {"endpoint", "timeout", "headers"},
	"file":          {"path"},
	"debug":         {"verbosity"},
}

// typeOf is the type of exporter that takes the place of one of the Collector's.
var typeOf = map[string]string{
	"otlp": "otlp", "otlp_grpc": "otlp", "otlphttp": "otlphttp", "otlp_http": "otlphttp", "elasticsearch": "elasticsearch", "loki": "loki", "file": "file", "debug": "debug", "logging": "debug",
	"prometheusremotewrite": "otlphttp",
}

var compressions = map[string][]string{"otlp": {"none", "gzip", "zstd"}, "otlphttp": {"none", "gzip", "zstd"}, "elasticsearch": {"none", "gzip"}, "loki": {"none", "gzip", "zstd"}}

// exporterOf converts a destination.
func (c *conversion) exporterOf(id, typ string, n *node) {
	what := "exporters." + id
	ours := typeOf[typ]
	if ours == "" {
		hint := "send OTLP to a Collector that has it"
		if typ == "prometheus" {
			hint = "the agent's /metrics/node tells what was scraped (admin.node_metrics), or send OTLP to Prometheus"
		}
		c.undone(n, what, "stint has no such exporter; "+hint)
		return
	}
	_, suffix := splitID(id)
	name := ours
	if suffix != "" {
		name += "/" + suffix
	}
	if typ == "prometheusremotewrite" {
		name = "otlphttp/" + strings.TrimSuffix("prometheus-"+suffix, "-")
	}
	c.exporter[id] = name
	c.set(map[string]any{}, "exporters", name)
	handled := []string{"sending_queue", "retry_on_failure", "tls", "compression", "auth"}
	if typ == "prometheusremotewrite" {
		url := n.child("endpoint").text()
		base, ok := strings.CutSuffix(url, "/api/v1/write")
		c.set(base+"/api/v1/otlp", "exporters", name, "endpoint")
		handled = append(handled, "endpoint")
		if ok {
			c.undone(n, what, "made to exporters."+name+": Prometheus takes OTLP at /api/v1/otlp if it is started with --web.enable-otlp-receiver; see that it is")
		} else {
			c.undone(n, what, "made to exporters."+name+": put in the URL at which the server takes OTLP")
		}
	} else {
		c.done(n, what, "exporters."+name)
	}
	for _, key := range sameKeys[ours] {
		v := n.child(key)
		if v == nil || slices.Contains(handled, key) {
			continue
		}
		handled = append(handled, key)
		switch {
		case key == "headers":
			for _, h := range v.pairs() {
				c.set(h.value.text(), "exporters", name, "headers", h.key)
			}
		case key == "endpoints":
			c.set(v.texts(), "exporters", name, key)
		default:
			c.set(v.text(), "exporters", name, key)
		}
	}
	if z := n.child("compression"); z != nil {
		if slices.Contains(compressions[ours], z.text()) {
			c.set(z.text(), "exporters", name, "compression")
		} else {
			c.undone(z, what+".compression", "not there; it is gzip now")
		}
	}
	for _, p := range n.child("tls").pairs() {
		switch p.key {
		case "insecure":
			if truth(p.value.text()) && strings.HasPrefix(n.child("endpoint").text(), "https://") {
				continue // an URL tells by itself
			}
			fallthrough
		case "insecure_skip_verify":
			c.set(truth(p.value.text()), "exporters", name, "tls", p.key)
		case "ca_file", "cert_file", "key_file", "min_version", "server_name_override":
			c.set(p.value.text(), "exporters", name, "tls", p.key)
		default:
			c.undone(p.value, what+".tls."+p.key, "not a key of tls; give files")
		}
	}
	for _, p := range n.child("retry_on_failure").pairs() {
		switch p.key {
		case "initial_interval", "max_interval":
			c.set(p.value.text(), "exporters", name, "retry_on_failure", p.key)
		default:
			c.moot(p.value, what+".retry_on_failure."+p.key, noLimit)
		}
	}
	if q := n.child("sending_queue"); q != nil {
		c.moot(q, what+".sending_queue", inFiles)
	}
	if a := n.child("auth"); a != nil {
		c.undone(a, what+".auth", "set user and password_file, or bearer_token_file")
	}
	c.special(what, name, ours, n, &handled)
	c.rest(what, n, map[string]string{"keepalive": always, "read_buffer_size": always, "write_buffer_size": always, "wait_for_ready": always, "balancer_name": always, "max_idle_conns": always,
		"idle_conn_timeout": always, "flush": "batch.timeout", "num_workers": always, "resource_to_telemetry_conversion": "identity becomes labels: promote_resource", "sampling_initial": always, "sampling_thereafter": always,
		"use_internal_logger": always, "retry": noLimit, "discover": always, "telemetry": always}, handled...)
}

// special converts keys of one type of exporter.
func (c *conversion) special(what, name, typ string, n *node, handled *[]string) {
	take := func(key string) *node {
		v := n.child(key)
		if v != nil {
			*handled = append(*handled, key)
		}
		return v
	}
	switch typ {
	case "elasticsearch":
		if m := take("mapping").child("mode"); m != nil {
			if slices.Contains([]string{"otel", "ecs", "none", "bodymap"}, m.text()) {
				c.set(m.text(), "exporters", name, "mapping")
			} else {
				c.undone(m, what+".mapping.mode", "otel, ecs, none and bodymap are there")
			}
		}
		if d := take("logs_dynamic_index"); d != nil {
			c.set(truth(d.child("enabled").text()), "exporters", name, "logs_dynamic_index", "enabled")
		}
		if l := take("logstash_format"); l != nil {
			c.set(truth(l.child("enabled").text()), "exporters", name, "logstash_format", "enabled")
		}
	case "loki":
		if h := n.child("headers").child("X-Scope-OrgID"); h != nil {
			c.moot(h, what+".headers.X-Scope-OrgID", "it is sent as a header; tenant_id is the same")
		}
	case "file":
		if r := take("rotation"); r != nil {
			for _, p := range r.pairs() {
				if slices.Contains([]string{"max_megabytes", "max_days", "max_backups"}, p.key) {
					c.set(p.value.value(), "exporters", name, "rotation", p.key)
				} else {
					c.undone(p.value, what+".rotation."+p.key, "not a key of rotation")
				}
			}
		}
		if f := take("format"); f != nil && f.text() != "json" {
			c.undone(f, what+".format", "the file has OTLP in JSON, a line a batch")
		}
	case "debug":
		if l := take("loglevel"); l != nil {
			if l.text() == "debug" {
				c.set("detailed", "exporters", name, "verbosity")
			}
		}
	}
}
