// Command send encodes log records, batches them and sends them as stint-agent does, without the
// reading of files, and prints what that cost as one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"stint/export"
	"stint/export/otlp"
)

// sent is what send prints.
type sent struct {
	Records    int64   `json:"records"`
	Bytes      int64   `json:"bytes"`       // of requests, before compression
	CPUSeconds float64 `json:"cpu_seconds"` // of encoding, batching, sending
	Seconds    float64 `json:"seconds"`
}

func main() {
	to := flag.String("to", "", "host:port of a receiver (otlp), or its URL (otlphttp)")
	protocol := flag.String("protocol", "otlp", "otlp or otlphttp")
	compression := flag.String("compression", "none", "none, gzip or zstd")
	bytes := flag.Int64("bytes", 2<<30, "bytes of bodies to send")
	body := flag.Int("body", 250, "bytes of a body")
	batch := flag.Int("batch", 10_000, "records of a request")
	flag.Parse()
	res, err := run(*to, *protocol, *compression, *bytes, *body, *batch)
	if err != nil {
		fmt.Fprintln(os.Stderr, "send:", err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(res)
}

// settled counts chunks that came back.
type settled struct{ delivered, other atomic.Int64 }

func (s *settled) Settled(_ *otlp.Chunk, o otlp.Outcome) {
	if o == otlp.Delivered {
		s.delivered.Add(1)
	} else {
		s.other.Add(1)
	}
}

const (
	containers   = 20
	chunkRecords = 400
)

func run(to, protocol, compression string, bytes int64, body, records int) (res sent, err error) {
	v, err := export.Exporters{}.NewValue(protocol)
	if err != nil {
		return res, err
	}
	switch c := v.(type) {
	case *export.OTLP:
		c.Endpoint, c.TLS.Insecure, c.Compression = to, true, compression
	case *export.OTLPHTTP:
		c.Endpoint, c.Compression = to, compression
	default:
		return res, fmt.Errorf("no protocol %q", protocol)
	}
	exporters := export.Exporters{"to": v.(export.Exporter)}
	pipelines := export.DefaultPipelines(exporters, map[string][]string{"logs": {"send"}})
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	batch := export.BatchDefaults()
	batch.SendBatchSize = records
	e, err := export.New(export.Options{Batch: batch, Exporters: exporters, Pipelines: pipelines, Version: "bench", Log: log, Registerer: prometheus.NewRegistry()})
	if err != nil {
		return res, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()

	var groups []*otlp.Group
	for i := range containers {
		groups = append(groups, otlp.NewGroup([]otlp.KeyValue{
			otlp.Attr("k8s.namespace.name", "payments"), otlp.Attr("k8s.pod.name", fmt.Sprintf("orders-7d9f8b6c5d-%05x", i)), otlp.Attr("k8s.container.name", "app"),
		}, otlp.SchemaURL, "stint/bench", "1"))
	}
	lines := make([][]byte, 1000)
	for i := range lines {
		lines[i] = fmt.Appendf(nil, "level=info msg=\"reconciled object\" namespace=payments controller=deployment n=%d trace_id=%032x path=/api/v1/orders/%d duration_ms=%d", i, uint64(i)*0x9E3779B97F4A7C15, i*7919, i%97)
		for len(lines[i]) < body {
			lines[i] = append(lines[i], " more=words"...)
		}
	}
	attrs := otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, []otlp.KeyValue{otlp.Attr("log.iostream", "stdout")})
	pool, origin, in := otlp.NewPool(24<<20, e.Flush), &settled{}, e.Input(otlp.Logs, "send")

	start, before := time.Now(), cpuTime()
	chunks := int64(0)
	for n := 0; int64(n)*int64(body) < bytes; {
		slab, err := pool.Get(ctx, chunkRecords*(body+100))
		if err != nil {
			return res, err
		}
		for range chunkRecords {
			slab.Buf = otlp.AppendLogRecord(slab.Buf, &otlp.LogRecord{Time: 1763833440e9 + uint64(n), Observed: 1763833441e9, Body: lines[n%len(lines)], Attrs: attrs})
			n++
		}
		c := otlp.NewChunk(slab, slab.Buf)
		c.Group, c.Records, c.Signal, c.Lane, c.Origin = groups[chunks%containers], chunkRecords, otlp.Logs, uint32(chunks%containers), origin
		slab.Release()
		in(c)
		chunks++
	}
	e.CloseInput()
	<-done
	res.CPUSeconds, res.Seconds = (cpuTime() - before).Seconds(), time.Since(start).Seconds()
	for _, s := range e.Status() {
		res.Records, res.Bytes = s.Sent, s.Bytes
	}
	if origin.delivered.Load() != chunks {
		return res, errors.New("not all was delivered")
	}
	return res, nil
}

func cpuTime() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
