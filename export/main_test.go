package export

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
	"google.golang.org/grpc/resolver/dns"

	"stint/export/otlp"
)

func TestMain(m *testing.M) {
	dns.SetMinResolutionInterval(10 * time.Millisecond) // of grpc; else tests would wait half a minute
	goleak.VerifyTestMain(m)
}

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// source makes chunks and keeps book of what became of them.
type source struct {
	t    testing.TB
	pool *otlp.Pool

	mu       sync.Mutex
	chunks   int
	outcomes map[uint64]otlp.Outcome // by mark
	seq      map[string]int          // records made, by container
	groups   map[string]*otlp.Group
}

func newSource(t testing.TB) *source {
	return &source{t: t, pool: otlp.NewPool(256<<20, nil), outcomes: map[uint64]otlp.Outcome{}, seq: map[string]int{}, groups: map[string]*otlp.Group{}}
}

// Settled implements otlp.Origin.
func (s *source) Settled(c *otlp.Chunk, o otlp.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before, ok := s.outcomes[c.Mark]; ok {
		s.t.Errorf("chunk %d is settled twice: %d, then %d", c.Mark, before, o)
	}
	s.outcomes[c.Mark] = o
}

// body is what record n of a container says.
func body(container string, n int) string { return fmt.Sprintf("%s/%d", container, n) }

// logs makes a chunk of the container's next records. Those whose number bad names hold the
// word "bad"; each is padded to size bytes.
func (s *source) logs(container string, records, size int, bad ...int) *otlp.Chunk {
	return s.make(otlp.Logs, container, records, size, bad...)
}

// metrics makes a chunk of gauges, a point each.
func (s *source) metrics(host string, records, size int, bad ...int) *otlp.Chunk {
	return s.make(otlp.Metrics, host, records, size, bad...)
}

func (s *source) make(signal otlp.Signal, container string, records, size int, bad ...int) *otlp.Chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.groups[container] == nil {
		s.groups[container] = otlp.NewGroup([]otlp.KeyValue{otlp.Attr("container", container)}, otlp.SchemaURL, "test", "1")
	}
	slab := s.pool.TryGet(records * (size + 64))
	if slab == nil {
		s.t.Fatal("the pool is empty")
	}
	defer slab.Release()
	for range records {
		n := s.seq[container]
		s.seq[container]++
		text := fmt.Appendf(nil, "%s ", body(container, n))
		for _, b := range bad {
			if b == n {
				text = append(text, "bad "...)
			}
		}
		text = append(text, bytes.Repeat([]byte{byte('a' + n%26)}, max(size-len(text), 0))...)
		if signal == otlp.Logs {
			slab.Buf = otlp.AppendLogRecord(slab.Buf, &otlp.LogRecord{Time: 1, Observed: 2, Body: text})
		} else {
			slab.Buf = otlp.AppendMetric(slab.Buf, &otlp.Metric{Name: string(text)}, []otlp.NumberPoint{{Time: 1, Int: int64(n)}})
		}
	}
	c := otlp.NewChunk(slab, slab.Buf)
	c.Group, c.Records, c.Signal, c.Origin, c.Mark = s.groups[container], records, signal, s, uint64(s.chunks)
	for _, r := range container {
		c.Lane = c.Lane*31 + uint32(r)
	}
	s.chunks++
	return c
}

// settled is how many chunks have each outcome.
func (s *source) settled() (delivered, dropped, aborted int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.outcomes {
		switch o {
		case otlp.Delivered:
			delivered++
		case otlp.Dropped:
			dropped++
		default:
			aborted++
		}
	}
	return delivered, dropped, aborted
}

// want fails unless every chunk is settled, these many in each way, and all memory is back.
func (s *source) want(delivered, dropped, aborted int) {
	s.t.Helper()
	if d, r, a := s.settled(); d != delivered || r != dropped || a != aborted || d+r+a != s.chunks {
		s.t.Errorf("of %d chunks %d were delivered, %d dropped, %d aborted, want %d, %d, %d", s.chunks, d, r, a, delivered, dropped, aborted)
	}
	if n := s.pool.Used(); n != 0 {
		s.t.Errorf("%d bytes of memory are still in use", n)
	}
}

// fast is a retry that does not hold tests up.
var fast = Retry{InitialInterval: 10 * time.Millisecond, MaxInterval: 20 * time.Millisecond}

// newExporting makes one with every destination taking every signal from the source "test".
func newExporting(t testing.TB, b Batch, exporters Exporters, log *slog.Logger) (*Exporting, *prometheus.Registry) {
	t.Helper()
	reg := newRegistry()
	e, err := New(Options{Batch: b, Exporters: exporters, Pipelines: DefaultPipelines(exporters, map[string][]string{"logs": {"test"}, "metrics": {"test"}}), Version: "1.2.3", Log: log, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	return e, reg
}

// drops reads the counter of records given up.
func drops(t testing.TB, e *Exporting, exporter string, s otlp.Signal, reason string) int {
	t.Helper()
	var m dto.Metric
	if err := e.outs[exporter].metrics.dropped.WithLabelValues(exporter, s.String(), reason).Write(&m); err != nil {
		t.Fatal(err)
	}
	return int(m.GetCounter().GetValue())
}

// lines is text as services write it; it compresses about 3 to 1 with gzip.
func lines(r *rand.Rand, bytes int) (list [][]byte) {
	words := []string{"GET", "POST", "handled", "request", "level=info", "level=warn", "msg=\"reconciled object\"", "duration_ms=", "trace_id=", "namespace=payments", "status=200", "user=", "controller=deployment", "retrying", "connection", "upstream", "cache miss", "path=/api/v1/orders/"}
	for bytes > 0 {
		l := fmt.Appendf(nil, "2026-11-22T17:44:%02d.%06dZ ", r.IntN(60), r.IntN(1e6))
		for n := 60 + int(r.ExpFloat64()*110); len(l) < n; {
			l = append(l, words[r.IntN(len(words))]...)
			if r.IntN(3) == 0 {
				l = fmt.Appendf(l, "%x", r.Uint64())
			}
			l = append(l, ' ')
		}
		bytes -= len(l)
		list = append(list, l)
	}
	return list
}

func newRegistry() *prometheus.Registry { return prometheus.NewRegistry() }
