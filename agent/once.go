package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
	"stint/scrape"
)

// Once scrapes everything a single time and prints it: "text", a line a point, or "otlp-json",
// one ExportMetricsServiceRequest. What could be read is printed also when something could not.
func Once(ctx context.Context, cfg *Config, version, format string, w io.Writer, log *slog.Logger) error {
	reg := prometheus.NewRegistry()
	n, err := newNode(cfg, log, reg)
	if err != nil {
		return err
	}
	if n != nil {
		ctx, cancel := context.WithCancel(ctx)
		var pods sync.WaitGroup
		pods.Go(func() { n.pods.Run(ctx) })
		defer pods.Wait()
		defer cancel()
		n.known(ctx)
	}
	sources, err := newSources(cfg, version, n, func(string) bool { return true }, log, reg)
	if err != nil {
		return err
	}
	grid, err := scrape.New(cfg.Scrape, sources, otlp.NewPool(sizes.Metrics, nil), nil, log, reg)
	if err != nil {
		return err
	}
	parts, scrapeErr := grid.Once(ctx)
	var request []byte
	for _, p := range parts {
		request = append(p.Group.AppendFrame(request, len(p.Data)), p.Data...)
	}
	var m metricspb.MetricsData // an export request on the wire and in JSON; the type of that name would link a gateway for REST
	if err := proto.Unmarshal(request, &m); err != nil {
		return fmt.Errorf("bug: scraped metrics are not valid OTLP: %w", err)
	}
	var out []byte
	if format == "otlp-json" {
		// OTLP/JSON wants enumerations as numbers (opentelemetry-proto, docs/specification.md).
		if out, err = (protojson.MarshalOptions{UseEnumNumbers: true}).Marshal(&m); err != nil {
			return fmt.Errorf("print metrics: %w", err)
		}
		out = append(out, '\n')
	} else {
		out = appendText(nil, &m)
	}
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("print metrics: %w", err)
	}
	return scrapeErr
}

// appendText prints a line a point: name{attribute="value",…} value unit.
func appendText(dst []byte, m *metricspb.MetricsData) []byte {
	for _, rm := range m.ResourceMetrics {
		dst = append(dst, "# resource"...)
		for _, kv := range rm.Resource.GetAttributes() {
			dst = fmt.Appendf(dst, " %s=%s", kv.Key, text(kv.Value))
		}
		dst = append(dst, '\n')
		for _, sm := range rm.ScopeMetrics {
			for _, metric := range sm.Metrics {
				points := metric.GetGauge().GetDataPoints()
				if sum := metric.GetSum(); sum != nil {
					points = sum.DataPoints
				}
				for _, p := range points {
					dst = append(dst, metric.Name...)
					for i, kv := range p.Attributes {
						sep := byte(',')
						if i == 0 {
							sep = '{'
						}
						dst = append(fmt.Appendf(append(dst, sep), "%s=", kv.Key), strconv.Quote(text(kv.Value))...)
					}
					if len(p.Attributes) > 0 {
						dst = append(dst, '}')
					}
					dst = append(dst, ' ')
					switch v := p.Value.(type) {
					case *metricspb.NumberDataPoint_AsInt:
						dst = strconv.AppendInt(dst, v.AsInt, 10)
					case *metricspb.NumberDataPoint_AsDouble:
						dst = strconv.AppendFloat(dst, v.AsDouble, 'g', -1, 64)
					}
					dst = fmt.Appendf(dst, " %s\n", metric.Unit)
				}
			}
		}
	}
	return dst
}

// text prints the scalar values that resources and points carry.
func text(v *commonpb.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	case *commonpb.AnyValue_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	}
	return v.String()
}
