package objects

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"

	"stint/scrape/kube"
	"stint/scrape/kube/replay"
)

// logBuffer is a log that is read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// process is a source at work.
type process struct {
	*replay.Sink
	t    testing.TB
	src  *Source
	log  *logBuffer
	stop context.CancelFunc
	done chan error
}

// start runs a source of a new process.
func start(t testing.TB, s *replay.Server, resources ...Resource) *process {
	t.Helper()
	return startWith(t, s.Client(t), replay.NewSink(t), func(*Source) {}, resources...)
}

func startWith(t testing.TB, c *kube.Client, sink *replay.Sink, change func(*Source), resources ...Resource) *process {
	t.Helper()
	cfg := Defaults()
	cfg.CheckpointNamespace, cfg.Resources = "stint", resources
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	p := &process{Sink: sink, t: t, log: &logBuffer{}, done: make(chan error, 1)}
	var err error
	if p.src, err = New(cfg, sink.Deps(c, slog.New(slog.NewTextHandler(p.log, nil)))); err != nil {
		t.Fatal(err)
	}
	p.src.every, p.src.retry = 20*time.Millisecond, 50*time.Millisecond
	change(p.src)
	p.run()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Log(p.log.String())
		}
	})
	return p
}

func (p *process) run() {
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go func() { p.done <- p.src.Run(ctx) }()
}

// end ends the term cleanly.
func (p *process) end() {
	p.t.Helper()
	p.stop()
	if err := p.wait(); err != nil {
		p.t.Fatal(err)
	}
	if err := p.src.Handover(context.Background()); err != nil {
		p.t.Fatal(err)
	}
}

// kill ends it without a last word: what is held is never settled.
func (p *process) kill() {
	p.t.Helper()
	p.stop()
	if err := p.wait(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) wait() error {
	p.t.Helper()
	select {
	case err := <-p.done:
		return err
	case <-time.After(20 * time.Second):
		p.t.Fatalf("Run does not end\n%s", p.log)
		return nil
	}
}

// until waits until it is true.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("not after 20 s: %s", what)
		}
		time.Sleep(time.Millisecond) // polls
	}
}

// pod is the text of one for Server.Put.
func pod(namespace, name string) string {
	return fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":%q,"namespace":%q,"uid":%q,"resourceVersion":"VERSION","creationTimestamp":"2026-11-22T15:44:52Z"},"spec":{"nodeName":"n"}}`,
		name, namespace, uidFor(namespace+"/"+name))
}

// uidFor is a uid made of a name.
func uidFor(name string) string {
	var h uint64 = 14695981039346656037
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return fmt.Sprintf("%08x-%04x-4000-8000-%012x", uint32(h), uint16(h>>32), h>>16)
}

// names are those of the objects with their versions and types.
func names(records []replay.Record) string {
	var b strings.Builder
	for _, r := range records {
		fmt.Fprintf(&b, "%s%s@%s ", kindOf(r), r.Attr("event.name"), r.Attr("k8s.object.resource_version"))
	}
	return strings.TrimSpace(b.String())
}

// kindOf is + for ADDED, ~ for MODIFIED, - for DELETED.
func kindOf(r replay.Record) string {
	switch field(r.Body, "type").GetStringValue() {
	case "ADDED":
		return "+"
	case "MODIFIED":
		return "~"
	case "DELETED":
		return "-"
	}
	return r.EventName
}

// field is one of a map.
func field(v *commonpb.AnyValue, path ...string) *commonpb.AnyValue {
	for _, key := range path {
		var next *commonpb.AnyValue
		for _, kv := range v.GetKvlistValue().GetValues() {
			if kv.Key == key {
				next = kv.Value
			}
		}
		v = next
	}
	return v
}
