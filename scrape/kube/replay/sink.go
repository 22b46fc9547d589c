package replay

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"

	"stint/export/otlp"
	"stint/scrape/kube"
)

// Sink takes a source's chunks in place of the pipelines, as long as the lease is live.
type Sink struct {
	t    testing.TB
	pool *otlp.Pool

	mu      sync.Mutex // guards everything below
	changed chan struct{}
	hold    bool // chunks wait for Settle
	dead    bool // the lease is lost
	held    []*otlp.Chunk
	records []Record
	chunks  int
	term    int64
}

// Record is one log record.
type Record struct {
	*logspb.LogRecord
	Resource []*commonpb.KeyValue
	Chunk    int // the how manieth chunk it came in
}

// Attr is the text of an attribute, "" if there is none.
func (r Record) Attr(key string) string { return text(r.Attributes, key) }

// ResourceAttr is the same of the resource.
func (r Record) ResourceAttr(key string) string { return text(r.Resource, key) }

func text(kvs []*commonpb.KeyValue, key string) string {
	for _, kv := range kvs {
		if kv.Key == key {
			switch v := kv.Value.Value.(type) {
			case *commonpb.AnyValue_StringValue:
				return v.StringValue
			case *commonpb.AnyValue_IntValue:
				return fmt.Sprint(v.IntValue)
			case *commonpb.AnyValue_BoolValue:
				return fmt.Sprint(v.BoolValue)
			}
			return kv.Value.String()
		}
	}
	return ""
}

// NewSink settles what it gets as delivered, at once.
func NewSink(t testing.TB) *Sink {
	return &Sink{t: t, pool: otlp.NewPool(32<<20, nil), changed: make(chan struct{}), term: 1}
}

// Deps are those of a source of a process of its own, whose chunks come here.
func (k *Sink) Deps(c *kube.Client, log *slog.Logger) kube.Deps {
	p := &kube.Progress{}
	p.Begin()
	return kube.Deps{
		Client: c, Version: "test", Pool: k.pool, Out: k.take, Progress: p, Log: log, Registerer: prometheus.NewRegistry(),
		Live: func() bool { k.mu.Lock(); defer k.mu.Unlock(); return !k.dead },
		Term: func() int64 { k.mu.Lock(); defer k.mu.Unlock(); return k.term },
	}
}

func (k *Sink) take(c *otlp.Chunk) {
	k.mu.Lock()
	if k.dead {
		k.mu.Unlock()
		c.Settle(otlp.Aborted)
		return
	}
	k.chunks++
	request := append(c.Group.AppendFrame(nil, len(c.Data)), c.Data...)
	var got collogspb.ExportLogsServiceRequest
	if err := proto.Unmarshal(request, &got); err != nil {
		k.t.Errorf("a chunk is no OTLP: %v", err)
	}
	n := 0
	for _, rl := range got.ResourceLogs {
		for _, sl := range rl.ScopeLogs {
			for _, r := range sl.LogRecords {
				k.records = append(k.records, Record{r, rl.Resource.GetAttributes(), k.chunks})
				n++
			}
		}
	}
	if n != c.Records || c.Signal != otlp.Logs {
		k.t.Errorf("a chunk of %d %s has %d", c.Records, c.Signal, n)
	}
	hold := k.hold
	if hold {
		k.held = append(k.held, c)
	}
	close(k.changed)
	k.changed = make(chan struct{})
	k.mu.Unlock()
	if !hold {
		c.Settle(otlp.Delivered)
	}
}

// Limit bounds the memory of records.
func (k *Sink) Limit(bytes int64) { k.pool.SetLimit(bytes) }

// Hold keeps what comes from being settled.
func (k *Sink) Hold() { k.set(func() { k.hold = true }) }

// Lose lets the lease be lost, Gain be gained, in a later term.
func (k *Sink) Lose() { k.set(func() { k.dead = true }) }

// Gain makes the lease live again.
func (k *Sink) Gain() { k.set(func() { k.dead = false; k.term++ }) }

func (k *Sink) set(do func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	do()
}

// Settle settles the first n chunks that are held, all for -1, and forgets them.
func (k *Sink) Settle(n int, o otlp.Outcome) {
	k.mu.Lock()
	if n < 0 || n > len(k.held) {
		n = len(k.held)
	}
	first := k.held[:n]
	k.held = append([]*otlp.Chunk(nil), k.held[n:]...)
	k.mu.Unlock()
	for _, c := range first {
		c.Settle(o)
	}
}

// Release settles what is held as delivered, and holds nothing more.
func (k *Sink) Release() {
	k.set(func() { k.hold = false })
	k.Settle(-1, otlp.Delivered)
}

// Records are those that came so far.
func (k *Sink) Records() []Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]Record(nil), k.records...)
}

// Wait waits until there are n records, and returns them.
func (k *Sink) Wait(n int) []Record {
	k.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		k.mu.Lock()
		changed, got := k.changed, len(k.records)
		k.mu.Unlock()
		if got >= n {
			return k.Records()
		}
		select {
		case <-changed:
		case <-deadline:
			k.t.Fatalf("%d records after 20 s, want %d", got, n)
		}
	}
}

// Held is how many chunks wait for Settle.
func (k *Sink) Held() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.held)
}
