package process

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"stint/agent/config"
)

// ExportersFromOTEL makes exporters of the OTEL_EXPORTER_OTLP_* variables that every OpenTelemetry SDK
// knows (opentelemetry.io/docs/specs/otel/protocol/exporter), if the file names no exporters:
//
//	PROTOCOL=http/protobuf   exporters.otlphttp with ENDPOINT, LOGS_ENDPOINT, METRICS_ENDPOINT, TRACES_ENDPOINT
//	PROTOCOL=grpc            exporters.otlp with ENDPOINT, otlp/logs with LOGS_ENDPOINT, and so on, and pipelines
//	                         to match
//
// Without PROTOCOL it is grpc if an endpoint's port is 4317, else http/protobuf as the specification
// has it. STINT_ variables and --set are applied on top. sources are the names of sources by signal; signals that have
// none are left out.
func ExportersFromOTEL(l *config.Loader, env func(string) string, sources map[string][]string) (notes []string) {
	const prefix = "OTEL_EXPORTER_OTLP_"
	get := func(name string) string { return strings.TrimSpace(env(prefix + name)) }

	all, own := get("ENDPOINT"), map[string]string{} // by signal
	endpoints := []string{all}
	for _, signal := range slices.Sorted(maps.Keys(sources)) {
		if e := get(strings.ToUpper(signal) + "_ENDPOINT"); e != "" {
			own[signal] = e
			endpoints = append(endpoints, e)
		}
	}
	if all == "" && len(own) == 0 {
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
		for _, e := range endpoints {
			grpc = grpc || strings.HasSuffix(strings.TrimSuffix(e, "/"), ":4317")
		}
	default:
		l.Fail("env "+prefix+"PROTOCOL", strconv.Quote(p)+" is not a protocol of this program", "write grpc or http/protobuf")
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
		if all != "" {
			put("ENDPOINT", all, "exporters", "otlphttp", "endpoint")
		}
		for signal, e := range own {
			put(strings.ToUpper(signal)+"_ENDPOINT", e, "exporters", "otlphttp", signal+"_endpoint")
		}
		common("otlphttp")
		return nil
	}
	exporter := func(variable, endpoint, name string) {
		put(variable, endpoint, "exporters", name, "endpoint")
		common(name)
		if insecure := get("INSECURE"); insecure != "" && !strings.Contains(endpoint, "://") { // a scheme decides
			put("INSECURE", strings.ToLower(insecure), "exporters", name, "tls", "insecure")
		}
	}
	if all != "" && len(own) < len(sources) { // else nothing is left for it
		exporter("ENDPOINT", all, "otlp")
	}
	for signal, e := range own {
		exporter(strings.ToUpper(signal)+"_ENDPOINT", e, "otlp/"+signal)
	}
	if len(own) == 0 || l.IsSet("pipelines") {
		return nil
	}
	for signal, names := range sources {
		variable, to := strings.ToUpper(signal)+"_ENDPOINT", "otlp/"+signal
		if own[signal] == "" {
			variable, to = "ENDPOINT", "otlp"
		}
		if own[signal] == "" && all == "" {
			continue // this signal has no destination
		}
		put(variable, to, "pipelines", signal, "exporters", "0")
		for i, s := range names {
			put(variable, s, "pipelines", signal, "sources", strconv.Itoa(i))
		}
	}
	return nil
}
