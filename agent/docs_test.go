package agent

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stint/agent/config"
	"stint/agent/process"
	"stint/export"
)

var update = flag.Bool("update", false, "rewrite generated files")

// TestConfigurationDocs: docs/configuration.md is what the structs say. -update rewrites it.
func TestConfigurationDocs(t *testing.T) {
	const name = "../docs/configuration.md"
	want := configurationDocs(t)
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s is stale; go test ./agent -run ConfigurationDocs -update (-want +got)\n%s", name, d)
	}
}

// TestSampleLoads: the sample in the documentation is a configuration, and says what it seems to say.
func TestSampleLoads(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stint.yaml")
	if err := os.WriteFile(file, sampleText(t), 0o600); err != nil {
		t.Fatal(err)
	}
	got, report := Load(process.LoadArgs{File: file, Env: []string{"TOKEN=x", "NODE_NAME=n"}})
	if len(report.Faults) > 0 {
		t.Fatalf("faults:\n%v", report.Faults)
	}
	want := sample(t)
	want.NodeName, want.KubernetesNode = "n", "n"
	want.Exporters["otlp"].(*export.OTLP).Headers["authorization"] = "Bearer x"
	if d := cmp.Diff(want, *got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// sample is the defaults with something under exporters and pipelines.
func sample(t *testing.T) Config {
	c := Defaults()
	c.Exporters = export.Exporters{}
	for _, name := range []string{"otlp", "otlphttp/prometheus", "debug"} {
		v, err := c.Exporters.NewValue(name)
		if err != nil {
			t.Fatal(err)
		}
		c.Exporters[name] = v.(export.Exporter)
	}
	otlp := c.Exporters["otlp"].(*export.OTLP)
	otlp.Endpoint, otlp.Compression = "stint-cluster:4317", "zstd"
	otlp.Headers = map[string]export.Secret{"authorization": "Bearer ${env:TOKEN}"}
	c.Exporters["otlphttp/prometheus"].(*export.OTLPHTTP).MetricsEndpoint = "http://prometheus:9090/api/v1/otlp/v1/metrics"
	c.Pipelines = export.Pipelines{
		"logs":    {Sources: []string{"tail"}, Exporters: []string{"otlp"}},
		"metrics": {Sources: Sources()["metrics"], Exporters: []string{"otlp", "otlphttp/prometheus"}},
	}
	return c
}

func sampleText(t *testing.T) []byte {
	text := config.Append(nil, sample(t), config.Style{Docs: true, Reveal: true})
	return bytes.ReplaceAll(text, []byte("$${"), []byte("${")) // here it is meant to be expanded
}

func configurationDocs(t *testing.T) []byte {
	var b bytes.Buffer
	b.WriteString(docsHead)
	b.Write(config.Tables(config.Settings(Defaults())))
	b.WriteString("\n## A sample with every key\n\nThe defaults, with exporters and pipelines of a cluster.\n\n```yaml\n")
	b.Write(sampleText(t))
	b.WriteString("```\n")
	b.WriteString(docsTail)
	return b.Bytes()
}

const docsHead = `# Configuration of stint-agent

<!-- Generated from the structs in tail, scrape, export and agent: go test ./agent -run ConfigurationDocs -update -->

The agent works without any configuration. ` + "`--config FILE`" + ` names a YAML file in which every key is optional; a
key that is not in these tables is a fault. ` + "`stint-agent check --config FILE`" + ` prints all faults at once, each with
line, column and remedy, and ends with 78 if there is one. ` + "`stint-agent config --explain`" + ` prints what is in effect and
where each value is from.

A key is taken from ` + "`--set`" + `, else from the environment, else from the file, else it has its default.

## Keys

` + "`[]`" + ` stands for an entry of a list (0, 1, …), ` + "`NAME`" + ` for a name you choose. A duration is a number with a unit: ` + "`500ms`, `5s`, `1m30s`, `2h`" + `.
A whole number is written in digits: ` + "`4194304`, not `4MiB`" + `. In globs ` + "`*`" + ` stands for any
characters except ` + "`/`, `?` for one, `[a-z]`" + ` for one of a range; in those of files ` + "`**`" + ` for any directories and ` + "`{a,b}`" + ` for either.
Where a section has one key that is mostly meant, a single value in its place sets that: ` + "`multiline: auto`, `parse: json`" + `.
`

const docsTail = `
## What a file may hold

- One YAML document of at most 1 MiB. Quotes make no difference to numbers and switches; anchors and aliases work; merge
  keys (` + "`<<`" + `) and a key that comes twice are faults.
- A key without a value (` + "`exclude:`" + `) has its default; ` + "`exclude: []`" + ` is an empty list.
- A list replaces the default list. A section or a map adds to what is there.
- Inside values, after the YAML has been read, these are replaced; what they put in is not replaced again:

| written | becomes |
|---|---|
| ` + "`${env:NAME}`" + ` | the environment variable; a fault if it is not set |
| ` + "`${env:NAME:-text}`" + ` | the environment variable; ` + "`text`" + ` if it is not set or empty |
| ` + "`${file:/path}`" + ` | the content of a regular file of at most 1 MiB, without the newline at its end |
| ` + "`$$`" + ` | ` + "`$`" + ` |

Any other ` + "`$`" + ` stays as it is, but ` + "`${`" + ` with anything else behind it is a fault. In a flow section ` + "`{a: …}`" + ` a value with
` + "`${…}`" + ` needs quotes, for YAML's sake: ` + "`{send_batch_size: \"${env:N}\"}`" + `.

Secret text, the values of ` + "`headers`" + ` among it, is shown by no output, log or fault. ` + "`***`" + `, which ` + "`stint-agent config`" + ` prints in their
place, is refused as a value.

## ` + "`--set path.to.key=value`" + `

May be given many times; the last one wins. The path is that of the tables, with an index for an entry of a list and, in quotes, names that hold a dot:

    --set tail.max_line_bytes=65536
    --set tail.files[0].format=plain          (or tail.files.0.format; the next free index appends)
    --set exporters.otlp/a.endpoint=collector:4317
    --set 'exporters.otlp.headers."x.tenant"=a'
    --set 'tail.containers.exclude=["kube-system/*/*"]'

Where the key is a single value, the text is the value, as it stands; one pair of quotes around it is taken off. Where it
is a list, a map or a section, the text is YAML. Nothing is expanded: the shell has done that.

## Environment variables

` + "`STINT_`" + ` and the path in upper case, with ` + "`_`" + ` for everything that is no letter or digit, sets a key: ` + "`STINT_TAIL_MAX_LINE_BYTES`, `STINT_LOG_LEVEL`, `STINT_TAIL_FILES_0_FORMAT`, `STINT_EXPORTERS_OTLP_ENDPOINT`" + `.
The value is read as for ` + "`--set`" + `. An empty variable counts as unset. Exporters and pipelines are found by the names the file
gives them, else by their type or signal. A ` + "`STINT_`" + ` variable that names no key is a fault; those that Kubernetes sets in
every pod for a Service called stint… (` + "`STINT_CLUSTER_SERVICE_HOST`, `STINT_PORT_4317_TCP_ADDR`" + `, …) are passed over.

` + "`K8S_NODE_NAME`" + ` and ` + "`NODE_NAME`" + ` give ` + "`node_name`" + ` where nothing else does, ` + "`K8S_NODE_IP`" + ` gives ` + "`scrape.kubelet.address`" + `.

## OTEL_EXPORTER_OTLP_ variables

If the file names no exporters, these make some, as the [OpenTelemetry specification](https://opentelemetry.io/docs/specs/otel/protocol/exporter/) has it. ` + "`STINT_`" + ` variables and ` + "`--set`" + ` are
applied on top. If the file does name exporters they are not used, and ` + "`check`" + ` says so. Without one of the three endpoints they do nothing.

| variable | sets | remarks |
|---|---|---|
| ` + "`OTEL_EXPORTER_OTLP_PROTOCOL`" + ` | the type of exporter | ` + "`grpc`: `otlp`; `http/protobuf`: `otlphttp`" + `. Not set: grpc if an endpoint's port is 4317, else http/protobuf. ` + "`http/json`" + ` is a fault |
| ` + "`OTEL_EXPORTER_OTLP_ENDPOINT`" + ` | ` + "`endpoint`" + ` | for HTTP ` + "`/v1/logs` and `/v1/metrics`" + ` are appended |
| ` + "`OTEL_EXPORTER_OTLP_LOGS_ENDPOINT`" + ` | ` + "`logs_endpoint`" + ` | used as it is. For gRPC: ` + "`endpoint`" + ` of an exporter ` + "`otlp/logs`" + ` and, unless the file has pipelines, a pipeline to it |
| ` + "`OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`" + ` | ` + "`metrics_endpoint`" + ` | likewise, with ` + "`otlp/metrics`" + ` |
| ` + "`OTEL_EXPORTER_OTLP_INSECURE`" + ` | ` + "`tls.insecure`" + ` | gRPC only, and only if the endpoint has no ` + "`http://` or `https://`" + `, which decide themselves |
| ` + "`OTEL_EXPORTER_OTLP_HEADERS`" + ` | ` + "`headers`" + ` | ` + "`name=value,name=value`" + `, values percent-encoded |
| ` + "`OTEL_EXPORTER_OTLP_COMPRESSION`" + ` | ` + "`compression`" + ` | ` + "`none`, `gzip`, `zstd`" + `; not set: gzip |
| ` + "`OTEL_EXPORTER_OTLP_TIMEOUT`" + ` | ` + "`timeout`" + ` | whole milliseconds |
| ` + "`OTEL_EXPORTER_OTLP_CERTIFICATE`" + ` | ` + "`tls.ca_file`" + ` | |
| ` + "`OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`" + ` | ` + "`tls.cert_file`" + ` | together with CLIENT_KEY |
| ` + "`OTEL_EXPORTER_OTLP_CLIENT_KEY`" + ` | ` + "`tls.key_file`" + ` | together with CLIENT_CERTIFICATE |

Other variables of the specification, those for a single signal among them (` + "`OTEL_EXPORTER_OTLP_LOGS_HEADERS`" + ` and the like), are not read.

## HOST_ variables

` + "`HOST_ROOT`, `HOST_PROC`, `HOST_SYS`, `HOST_ETC`, `HOST_VAR`, `HOST_RUN` and `HOST_DEV`" + `, as the OTel Collector's host metrics and gopsutil have them, stand in for ` + "`scrape.root_path`" + ` where
neither the file nor ` + "`STINT_SCRAPE_ROOT_PATH`" + ` nor ` + "`--set`" + ` has that. The agent sees all of the host below one directory: ` + "`HOST_PROC=/hostfs/proc`" + ` makes it ` + "`/hostfs`" + `. Where
they name several roots, or a directory that is called something else, they are not used, and the agent says so at its start.
`
