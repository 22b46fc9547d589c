package events

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"stint/scrape/kube"
	"stint/scrape/kube/follow"
	"stint/scrape/kube/replay"
)

var coreEvents = follow.Resource{Version: "v1", Name: "events", Kind: "Event", Namespaced: true, Watchable: true}

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

func start(t testing.TB, c *kube.Client, change func(*Source, *Config)) *process {
	t.Helper()
	cfg := Defaults()
	cfg.CheckpointNamespace = "stint"
	p := &process{Sink: replay.NewSink(t), t: t, log: &logBuffer{}, done: make(chan error, 1)}
	var err error
	if p.src, err = New(cfg, p.Deps(c, slog.New(slog.NewTextHandler(p.log, nil)))); err != nil {
		t.Fatal(err)
	}
	p.src.every, p.src.retry = 20*time.Millisecond, 50*time.Millisecond
	p.src.windows = [2]time.Duration{time.Hour, time.Hour}
	if change != nil {
		change(p.src, &p.src.cfg)
	}
	if err := p.src.cfg.Check(); err != nil {
		t.Fatal(err)
	}
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

// end ends the term cleanly, kill without a last checkpoint.
func (p *process) end() {
	p.t.Helper()
	p.kill()
	if err := p.src.Handover(context.Background()); err != nil {
		p.t.Fatal(err)
	}
}

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

// saved waits until there is a checkpoint with the position.
func (p *process) saved(s *replay.Server) {
	p.t.Helper()
	until(p.t, "there is a checkpoint", func() bool { return strings.Contains(s.State("stint-cluster-events"), `"rv"`) })
}

// read waits until everything up to a version was read.
func (p *process) read(version string) {
	p.t.Helper()
	p.src.mu.Lock()
	t := p.src.targets[""]
	p.src.mu.Unlock()
	until(p.t, "version "+version+" is read", func() bool { return !follow.Newer(version, t.read()) })
}

// read is the last position, acknowledged or not.
func (t *target) read() string { return t.ledger.Last().Version }

// text is an event for Server.Put.
func text(name, uid string, count int) string {
	return fmt.Sprintf(`{"kind":"Event","apiVersion":"v1","metadata":{"name":%q,"namespace":"x","uid":%q,"resourceVersion":"VERSION","creationTimestamp":"2026-11-22T15:44:52Z"},
		"involvedObject":{"kind":"Pod","namespace":"x","name":"web","uid":"u-1","apiVersion":"v1","resourceVersion":"7","fieldPath":"spec.initContainers{init}"},
		"reason":"BackOff","message":"Back-off restarting","source":{"component":"kubelet","host":"n1"},"firstTimestamp":"2026-11-22T15:44:52Z","lastTimestamp":"2026-11-22T15:50:00Z","count":%d,"type":"Warning","eventTime":null,"reportingComponent":"kubelet","reportingInstance":"n1"}`, name, uid, count)
}

// counts are name=count+delta of each record.
func counts(records []replay.Record) string {
	var all []string
	for _, r := range records {
		if r.EventName != "" {
			all = append(all, r.Attr("stint.watch.gap.reason"))
			continue
		}
		all = append(all, r.Attr("k8s.event.name")+"="+r.Attr("k8s.event.count")+"+"+r.Attr("k8s.event.count_delta"))
	}
	return strings.Join(all, " ")
}
