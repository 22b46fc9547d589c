package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stint/export"
)

func TestExportersFromOTEL(t *testing.T) {
	otlp := func(endpoint string, more func(*export.OTLP)) export.Exporter {
		v, err := export.Exporters{}.NewValue("otlp")
		if err != nil {
			t.Fatal(err)
		}
		o := v.(*export.OTLP)
		o.Endpoint = endpoint
		if more != nil {
			more(o)
		}
		return o
	}
	otlphttp := func(more func(*export.OTLPHTTP)) export.Exporter {
		v, err := export.Exporters{}.NewValue("otlphttp")
		if err != nil {
			t.Fatal(err)
		}
		more(v.(*export.OTLPHTTP))
		return v.(export.Exporter)
	}
	to := func(name string) export.Pipelines {
		return export.Pipelines{
			"logs":    {Sources: Sources()["logs"], Exporters: []string{name}},
			"metrics": {Sources: Sources()["metrics"], Exporters: []string{name}},
		}
	}

	for name, tc := range map[string]struct {
		text      string
		env       []string // without OTEL_EXPORTER_OTLP_
		more      []string
		set       []string
		want      export.Exporters
		pipelines export.Pipelines
		faults    string
		note      bool
	}{
		"nothing without an endpoint":      {env: []string{"HEADERS=a=b", "PROTOCOL=grpc"}, pipelines: export.Pipelines{}},
		"HTTP unless told otherwise":       {env: []string{"ENDPOINT=http://c:4318"}, want: export.Exporters{"otlphttp": otlphttp(func(o *export.OTLPHTTP) { o.Endpoint = "http://c:4318" })}, pipelines: to("otlphttp")},
		"gRPC by its port":                 {env: []string{"ENDPOINT=http://c:4317/"}, want: export.Exporters{"otlp": otlp("http://c:4317/", nil)}, pipelines: to("otlp")},
		"HTTP by its name on gRPC's port":  {env: []string{"ENDPOINT=http://c:4317", "PROTOCOL=http/protobuf"}, want: export.Exporters{"otlphttp": otlphttp(func(o *export.OTLPHTTP) { o.Endpoint = "http://c:4317" })}, pipelines: to("otlphttp")},
		"insecure where no scheme decides": {env: []string{"ENDPOINT=c:4317", "INSECURE=TRUE"}, want: export.Exporters{"otlp": otlp("c:4317", func(o *export.OTLP) { o.TLS.Insecure = true })}, pipelines: to("otlp")},
		"a scheme decides over insecure":   {env: []string{"ENDPOINT=https://c:4317", "INSECURE=true"}, want: export.Exporters{"otlp": otlp("https://c:4317", nil)}, pipelines: to("otlp")},
		"everything else": {
			env: []string{"ENDPOINT=https://c:443", "PROTOCOL=grpc", "COMPRESSION=none", "TIMEOUT=1500", "HEADERS=Authorization=Bearer%20x%3D, b = 1 ,", "CERTIFICATE=/ca", "CLIENT_CERTIFICATE=/c", "CLIENT_KEY=/k"},
			want: export.Exporters{"otlp": otlp("https://c:443", func(o *export.OTLP) {
				o.Compression, o.Timeout = "none", 1500*time.Millisecond
				o.Headers = map[string]export.Secret{"authorization": "Bearer x=", "b": "1"}
				o.TLS.CAFile, o.TLS.CertFile, o.TLS.KeyFile = "/ca", "/c", "/k"
			})}, pipelines: to("otlp")},
		"a URL for each signal": {
			env: []string{"LOGS_ENDPOINT=http://c/l", "METRICS_ENDPOINT=http://c/m"},
			want: export.Exporters{"otlphttp": otlphttp(func(o *export.OTLPHTTP) {
				o.LogsEndpoint, o.MetricsEndpoint = "http://c/l", "http://c/m"
			})}, pipelines: to("otlphttp")},
		"a gRPC address for logs": {
			env:  []string{"ENDPOINT=c:4317", "LOGS_ENDPOINT=l:4317"},
			want: export.Exporters{"otlp": otlp("c:4317", nil), "otlp/logs": otlp("l:4317", nil)},
			pipelines: export.Pipelines{
				"logs":    {Sources: Sources()["logs"], Exporters: []string{"otlp/logs"}},
				"metrics": {Sources: Sources()["metrics"], Exporters: []string{"otlp"}},
			}},
		"a gRPC address for each signal leaves nothing for the common one": {
			env:  []string{"ENDPOINT=c:4317", "LOGS_ENDPOINT=l:4317", "METRICS_ENDPOINT=m:4317"},
			want: export.Exporters{"otlp/metrics": otlp("m:4317", nil), "otlp/logs": otlp("l:4317", nil)},
			pipelines: export.Pipelines{
				"logs":    {Sources: Sources()["logs"], Exporters: []string{"otlp/logs"}},
				"metrics": {Sources: Sources()["metrics"], Exporters: []string{"otlp/metrics"}},
			}},
		"a gRPC address for metrics alone": {
			env:       []string{"METRICS_ENDPOINT=m:4317"},
			want:      export.Exporters{"otlp/metrics": otlp("m:4317", nil)},
			pipelines: export.Pipelines{"metrics": {Sources: Sources()["metrics"], Exporters: []string{"otlp/metrics"}}}},
		"the file's exporters win": {
			text: "exporters: {debug: }", env: []string{"ENDPOINT=http://c:4318"},
			want: export.Exporters{"debug": &export.Debug{Verbosity: "basic"}}, pipelines: to("debug"), note: true},
		"STINT_ and --set come on top": {
			env: []string{"ENDPOINT=c:4317", "TIMEOUT=1000"}, more: []string{"STINT_EXPORTERS_OTLP_COMPRESSION=zstd", "STINT_EXPORTERS_OTLP_TIMEOUT=2s"}, set: []string{"exporters.otlp.timeout=3s"},
			want:      export.Exporters{"otlp": otlp("c:4317", func(o *export.OTLP) { o.Compression, o.Timeout = "zstd", 3*time.Second })},
			pipelines: to("otlp")},
		"a protocol that is not spoken": {env: []string{"ENDPOINT=http://c:4318", "PROTOCOL=http/json"},
			faults: `env OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" is not a protocol of this program; write grpc or http/protobuf`},
		"values that are wrong": {env: []string{"ENDPOINT=c:4318", "TIMEOUT=5s", "COMPRESSION=gzp", "HEADERS=a=1,hunter2,b=%zz", "INSECURE=maybe", "PROTOCOL=grpc"},
			faults: `env OTEL_EXPORTER_OTLP_COMPRESSION: exporters.otlp.compression: "gzp" is not one of none, gzip, zstd; did you mean gzip
env OTEL_EXPORTER_OTLP_TIMEOUT: "5s" is not a number of milliseconds; give e.g. 10000
env OTEL_EXPORTER_OTLP_HEADERS: entry 2 is not name=value; write name=value,name=value with the values percent-encoded
env OTEL_EXPORTER_OTLP_HEADERS: entry 3 is not name=value; write name=value,name=value with the values percent-encoded
env OTEL_EXPORTER_OTLP_INSECURE: exporters.otlp.tls.insecure: "maybe" is neither true nor false; write true or false`},
		"an endpoint that is none": {env: []string{"ENDPOINT=c:4318"},
			faults: `env OTEL_EXPORTER_OTLP_ENDPOINT: exporters.otlphttp.endpoint: "c:4318" is not an http or https URL; write e.g. http://collector:4318`},
	} {
		t.Run(name, func(t *testing.T) {
			env := tc.more
			for _, e := range tc.env {
				env = append(env, "OTEL_EXPORTER_OTLP_"+e)
			}
			cfg, report := loadText(t, tc.text, env, tc.set...)
			if d := cmp.Diff(tc.faults, report.Faults.Error()); d != "" {
				t.Fatalf("faults (-want +got)\n%s", d)
			}
			if tc.faults != "" {
				return
			}
			if d := cmp.Diff(tc.want, cfg.Exporters); d != "" {
				t.Errorf("exporters (-want +got)\n%s", d)
			}
			if d := cmp.Diff(tc.pipelines, cfg.Pipelines); d != "" {
				t.Errorf("pipelines (-want +got)\n%s", d)
			}
			if noted := strings.Contains(strings.Join(report.Notes, ""), "OTEL_EXPORTER_OTLP_"); noted != tc.note {
				t.Errorf("notes %q", report.Notes)
			}
		})
	}
}
