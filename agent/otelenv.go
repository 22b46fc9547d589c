package agent

import (
	"net/url"
	"strconv"
	"strings"

	"stint/agent/config"
)

// exportersFromOTEL makes exporters of the OTEL_EXPORTER_OTLP_* variables that every OpenTelemetry SDK
// knows (opentelemetry.io/docs/specs/otel/protocol/exporter), if the file names no exporters:
//
//	PROTOCOL=http/protobuf   exporters.otlphttp with ENDPOINT, LOGS_ENDPOINT, METRICS_ENDPOINT
//	PROTOCOL=grpc            exporters.otlp with ENDPOINT, otlp/logs with LOGS_ENDPOINT, otlp/metrics
//	                         with METRICS_ENDPOINT, and pipelines to match
//
// Without PROTOCOL it is grpc if an endpoint's port is 4317, else http/protobuf as the specification
// has it. STINT_ variables and --set are applied on top.
func exportersFromOTEL(l *config.Loader, env func(string) string) (notes []string) {
	const prefix = "OTEL_EXPORTER_OTLP_"
	get := func(name string) string { return strings.TrimSpace(env(prefix + name)) }

	all, logs, metrics := get("ENDPOINT"), get("LOGS_ENDPOINT"), get("METRICS_ENDPOINT")
	if all == "" && logs == "" && metrics == "" {
		return nil
	}
	if l.IsSet("exporters") {
		return []string{prefix + "* is set and not used: the file names exporters"}
	}

	grpc := false
	switch p := get("PROTOCOL"); p {
	case "grpc":
		grpc = true
	case "http/protobuf":
	case "":
		for _, e := range []string{all, logs, metrics} {
			grpc = grpc || strings.HasSuffix(strings.TrimSuffix(e, "/"), ":4317")
		}
	default:
		l.Fail("env "+prefix+"PROTOCOL", strconv.Quote(p)+" is not a protocol of this agent", "write grpc or http/protobuf")
		return nil
	}

	put := func(name, value string, keys ...string) { l.Put("env "+prefix+name, value, keys...) }
	common := func(exporter string) {
		for _, v := range []struct {
			name string
			keys []string
		}{
			{"COMPRESSION", []string{"compression"}},
			{"CERTIFICATE", []string{"tls", "ca_file"}},
			{"CLIENT_CERTIFICATE", []string{"tls", "cert_file"}},
			{"CLIENT_KEY", []string{"tls", "key_file"}},
		} {
			if value := get(v.name); value != "" {
				put(v.name, value, append([]string{"exporters", exporter}, v.keys...)...)
			}
		}
		if ms := get("TIMEOUT"); ms != "" {
			if _, err := strconv.ParseUint(ms, 10, 31); err != nil {
				l.Fail("env "+prefix+"TIMEOUT", strconv.Quote(ms)+" is not a number of milliseconds", "give e.g. 10000")
			} else {
				put("TIMEOUT", ms+"ms", "exporters", exporter, "timeout")
			}
		}
		headers := get("HEADERS")
		for i, pair := range strings.Split(headers, ",") {
			if headers == "" || strings.TrimSpace(pair) == "" {
				continue
			}
			name, value, ok := strings.Cut(pair, "=")
			value, err := url.PathUnescape(strings.TrimSpace(value))
			if name = strings.ToLower(strings.TrimSpace(name)); !ok || err != nil || name == "" {
				l.Fail("env "+prefix+"HEADERS", "entry "+strconv.Itoa(i+1)+" is not name=value", "write name=value,name=value with the values percent-encoded")
				continue
			}
			put("HEADERS", value, "exporters", exporter, "headers", name)
		}
	}

	if !grpc {
		for _, e := range []struct{ name, value, key string }{
			{"ENDPOINT", all, "endpoint"}, {"LOGS_ENDPOINT", logs, "logs_endpoint"}, {"METRICS_ENDPOINT", metrics, "metrics_endpoint"},
		} {
			if e.value != "" {
				put(e.name, e.value, "exporters", "otlphttp", e.key)
			}
		}
		common("otlphttp")
		return nil
	}
	for _, e := range []struct{ name, value, exporter string }{
		{"ENDPOINT", all, "otlp"}, {"LOGS_ENDPOINT", logs, "otlp/logs"}, {"METRICS_ENDPOINT", metrics, "otlp/metrics"},
	} {
		if e.value == "" || e.name == "ENDPOINT" && logs != "" && metrics != "" { // nothing is left for it
			continue
		}
		put(e.name, e.value, "exporters", e.exporter, "endpoint")
		common(e.exporter)
		if insecure := get("INSECURE"); insecure != "" && !strings.Contains(e.value, "://") { // a scheme decides
			put("INSECURE", strings.ToLower(insecure), "exporters", e.exporter, "tls", "insecure")
		}
	}
	if (logs != "" || metrics != "") && !l.IsSet("pipelines") {
		for signal, own := range map[string]string{"logs": logs, "metrics": metrics} {
			name, exporter := strings.ToUpper(signal)+"_ENDPOINT", "otlp/"+signal
			if own == "" {
				name, exporter = "ENDPOINT", "otlp"
			}
			if own == "" && all == "" {
				continue // this signal has no destination
			}
			put(name, exporter, "pipelines", signal, "exporters", "0")
			for i, s := range Sources()[signal] {
				put(name, s, "pipelines", signal, "sources", strconv.Itoa(i))
			}
		}
	}
	return nil
}
