package export

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
	"stint/export/spool"
)

// some is a receiver that takes requests of up to 30 kB, so many records, and is down then.
func some(t testing.TB, records int64) *receiver {
	var left atomic.Int64
	left.Store(records)
	r, _ := outage(t)
	r.answer = func(_ int, in incoming) *reply {
		switch {
		case in.size > 30_000:
			return tooBig()
		case left.Add(-int64(len(in.bodies))) < 0:
			left.Store(0)
			return busy()
		}
		return nil
	}
	return r
}

// once fails unless the receivers together got every record once, and in order.
func once(t *testing.T, host string, n int, all ...*receiver) {
	t.Helper()
	total := &receiver{t: t}
	for _, r := range all {
		got := r.records()
		t.Logf("%d records arrived", len(got))
		total.got = append(total.got, got...)
	}
	total.want(host, n)
}

// A batch that was cut in parts, some of which arrived before the destination went down: they do not
// arrive again, after a kill or a stop, and over and over.
func TestPartsArriveOnce(t *testing.T) {
	for _, end := range []string{"stop", "kill"} {
		t.Run(end, func(t *testing.T) {
			dir, s := t.TempDir(), newSource(t)
			const records, portion = 200, 60
			var all []*receiver
			arrived := func() (n int) {
				for _, r := range all {
					n += len(r.records())
				}
				return n
			}
			for arrived() < records {
				r := some(t, portion)
				all = append(all, r)
				e, stop := spooled(t, dir, Exporters{"otlphttp": to(r)}, SpoolDefaults())
				defer stop()
				if len(all) == 1 {
					e.Input(otlp.Metrics, "test")(s.metrics("host", records, 1000))
				}
				eventually(t, "end of what it takes", func() bool {
					st := e.Status()[0]
					return st.Sent > portion-30 && st.Down != "" && st.Spooled == int64(records-arrived()) || arrived() == records && st.OnDisk == 0
				})
				if end == "stop" {
					stop()
					continue
				}
				copied := t.TempDir()
				if err := os.CopyFS(copied, os.DirFS(dir)); err != nil { // as a kill would leave it
					t.Fatal(err)
				}
				dir = copied
			}
			once(t, "host", records, all...)
			if len(all) < 4 {
				t.Errorf("only %d processes were needed", len(all))
			}
		})
	}
}

// A destination that hides a size limit behind 503 is found out over reading the batch again and again.
func TestHiddenLimitFromDisk(t *testing.T) {
	r, _ := outage(t)
	r.answer = func(_ int, in incoming) *reply {
		if in.size > 20_000 {
			return busy()
		}
		return nil
	}
	e, stop := spooled(t, t.TempDir(), Exporters{"otlphttp": to(r)}, SpoolDefaults())
	defer stop()
	s := newSource(t)
	e.Input(otlp.Metrics, "test")(s.metrics("host", 100, 1000))
	eventually(t, "memory that is free", func() bool { return s.pool.Used() == 0 })
	eventually(t, "delivery", func() bool { return len(r.records()) == 100 && e.Status()[0].OnDisk == 0 })
	r.want("host", 100)
	s.want(1, 0, 0)
}

// While its destination is down, the end waits for nothing: all is on the disk.
func TestEndInAnOutage(t *testing.T) {
	for name, hangs := range map[string]bool{"refuses": false, "does not answer": true} {
		t.Run(name, func(t *testing.T) {
			r, _ := outage(t)
			hung := make(chan struct{}, 100)
			r.answer = func(n int, _ incoming) *reply {
				if n > 1 && hangs {
					hung <- struct{}{}
					return &reply{hang: true}
				}
				return busy()
			}
			x := to(r)
			x.Timeout = maxTimeout
			if !hangs {
				x.RetryOnFailure = Retry{InitialInterval: time.Hour, MaxInterval: time.Hour}
			}
			dir, s := t.TempDir(), newSource(t)
			b := BatchDefaults()
			b.Timeout = 5 * time.Millisecond
			xs := Exporters{"otlphttp": x}
			e, err := New(Options{Batch: b, Exporters: xs, Pipelines: DefaultPipelines(xs, map[string][]string{"metrics": {"test"}}), Spool: SpoolDefaults(), SpoolDir: dir, Version: "1", Log: silent, Registerer: newRegistry()})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() { defer close(done); e.Run(context.Background()) }()
			e.Input(otlp.Metrics, "test")(s.metrics("host", 10, 1000))
			eventually(t, "outage", func() bool { return e.Status()[0].Down != "" })
			if hangs {
				<-hung
			}
			e.Input(otlp.Metrics, "test")(s.metrics("host", 10, 1000))
			start := time.Now()
			e.CloseInput()
			<-done
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("it took %v", d)
			}
			s.want(2, 0, 0)
			after, down := outage(t)
			down.Store(false)
			e, stop := spooled(t, dir, Exporters{"otlphttp": to(after)}, SpoolDefaults())
			defer stop()
			eventually(t, "delivery", func() bool { return len(after.records()) == 20 && e.Status()[0].OnDisk == 0 })
			after.want("host", 20)
		})
	}
}

// Two pipelines to one exporter that is away: what waits for it takes no memory, and of the disk no more than
// one exporter may; all is delivered or counted.
func TestTwoPipelinesOneBudget(t *testing.T) {
	r, down := outage(t)
	live, up := outage(t)
	up.Store(false)
	dir, s := t.TempDir(), newSource(t)
	b := BatchDefaults()
	b.Timeout = 5 * time.Millisecond
	keep := SpoolDefaults()
	keep.MaxBytes = 4 << 20
	x := Exporters{"otlphttp/dead": to(r), "otlphttp/live": to(live)}
	e, err := New(Options{Batch: b, Exporters: x, Pipelines: Pipelines{
		"metrics/one": {Sources: []string{"one"}, Exporters: []string{"otlphttp/dead"}},
		"metrics/two": {Sources: []string{"two"}, Exporters: []string{"otlphttp/dead", "otlphttp/live"}},
	}, Spool: keep, SpoolDir: dir, Version: "1", Log: silent, Registerer: newRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	defer func() { cancel(); <-done }()
	const ticks = 10 // 8 MB
	for range ticks {
		for range 3 {
			e.Input(otlp.Metrics, "one")(s.metrics("a", 20, 10_000))
		}
		e.Input(otlp.Metrics, "two")(s.metrics("b", 20, 10_000))
	}
	eventually(t, "delivery to the other", func() bool { return len(live.records()) == 20*ticks })
	eventually(t, "memory that is free", func() bool { return s.pool.Used() == 0 })
	st := e.Status()[0]
	files := int64(0)
	err = fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != spool.Suffix {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files += info.Size()
		}
		return err
	})
	if err != nil || files > keep.MaxBytes || files < keep.MaxBytes/2 || st.OnDisk > files {
		t.Errorf("%d bytes wait, the files have %d, the limit is %d, %v", st.OnDisk, files, keep.MaxBytes, err)
	}
	down.Store(false)
	eventually(t, "recovery", func() bool { st = e.Status()[0]; return st.OnDisk == 0 && st.Sent+st.Dropped == 4*20*ticks })
	if got := r.records(); len(got) != int(st.Sent) || st.Sent == 0 {
		t.Errorf("%d arrived, sent %d", len(got), st.Sent)
	}
	if n := drops(t, e, "otlphttp/dead", otlp.Metrics, spool.Full); n != int(st.Dropped) {
		t.Errorf("dropped %d, of them by the spool %d", st.Dropped, n)
	}
	live.want("b", 20*ticks)
}

// With when_full: refuse what is oldest is kept, and what is new is dropped and counted.
func TestSpoolRefuses(t *testing.T) {
	r, down := outage(t)
	keep := SpoolDefaults()
	keep.MaxBytes, keep.WhenFull = 4<<20, refuse
	e, stop := spooled(t, t.TempDir(), Exporters{"otlphttp": to(r)}, keep)
	defer stop()
	s := newSource(t)
	const ticks = 100 // 20 MB
	for range ticks {
		e.Input(otlp.Metrics, "test")(s.metrics("host", 20, 10_000))
	}
	settled := func() int { d, n, _ := s.settled(); return d + n }
	eventually(t, "end of writing", func() bool {
		return e.Status()[0].WaitBytes <= metricsQueueBytes && e.Status()[0].Dropped > 0 && settled() >= ticks-22
	})
	if st := e.Status()[0]; st.OnDisk > keep.MaxBytes || st.OnDisk < keep.MaxBytes/4 {
		t.Errorf("%d bytes on the disk, the limit is %d", st.OnDisk, keep.MaxBytes)
	}
	down.Store(false)
	eventually(t, "recovery", func() bool { st := e.Status()[0]; return st.Sent+st.Dropped == 20*ticks && st.OnDisk == 0 })
	got := r.records()
	number := func(name string) (n int) {
		fmt.Sscanf(name, "host/%d", &n)
		return n
	}
	if !slices.IsSortedFunc(got, func(a, b string) int { return number(a) - number(b) }) || len(got) == 0 || got[0] != body("host", 0) {
		t.Errorf("%d records arrived, not the oldest, or not in order", len(got))
	}
	st := e.Status()[0]
	if n := drops(t, e, "otlphttp", otlp.Metrics, spool.Full); int64(n) != st.Dropped || n == 0 || int(st.Sent) != len(got) {
		t.Errorf("%d arrived, sent %d, dropped %d, of them by the spool %d", len(got), st.Sent, st.Dropped, n)
	}
}

// Logs wait in their files, and move to the disk only while these are about to vanish. Then as much is read as
// the disk has room for, and it arrives once and in order, also after a kill; what finds no room waits.
func TestVanishingLogs(t *testing.T) {
	r, _ := outage(t)
	dir := t.TempDir()
	b := BatchDefaults()
	b.Timeout = 5 * time.Millisecond
	keep := SpoolDefaults()
	keep.MaxBytes = 4 << 20
	run := func(dir string, r *receiver) (*Exporting, func()) {
		x := Exporters{"otlphttp": to(r)}
		e, err := New(Options{Batch: b, Exporters: x, Pipelines: DefaultPipelines(x, map[string][]string{"logs": {"test"}}), Spool: keep, SpoolDir: dir, Version: "1", Log: silent, Registerer: newRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); e.Run(ctx) }()
		return e, sync.OnceFunc(func() { cancel(); <-done })
	}
	e, stop := run(dir, r)
	defer stop()
	s := newSource(t)
	add := func() {
		for _, host := range []string{"a", "b", "c"} {
			e.Input(otlp.Logs, "test")(s.logs(host, 20, 10_000))
		}
	}
	add()
	eventually(t, "outage", func() bool { return e.Status()[0].Retries > 3 })
	if st := e.Status()[0]; st.Spooled != 0 || s.pool.Used() == 0 {
		t.Errorf("without need it is on the disk: %+v", st)
	}
	e.Vanishing(true)
	eventually(t, "memory that is free", func() bool { return s.pool.Used() == 0 })
	add()
	eventually(t, "memory that is free of more", func() bool { return s.pool.Used() == 0 && e.Status()[0].Spooled == 120 })
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil { // as a kill would leave it
		t.Fatal(err)
	}
	after, down := outage(t)
	down.Store(false)
	e2, stop2 := run(copied, after)
	defer stop2()
	eventually(t, "delivery", func() bool { return len(after.records()) == 120 && e2.Status()[0].OnDisk == 0 })
	for _, host := range []string{"a", "b", "c"} {
		after.want(host, 40)
	}

	const more = 8
	for range more { // 4.8 MB
		add()
	}
	eventually(t, "full disk", func() bool {
		st := e.Status()[0]
		full := slices.ContainsFunc(e.lanes, func(l *lane) bool { return l.queues[0].spool.Full() }) // by how much depends on the batches
		return full && st.Spooled > 120 && st.WaitBytes > 0 && s.pool.Used() > 0
	})
	e.Vanishing(false)
	stop()
	if d, n, a := s.settled(); n != 0 || a == 0 || d+a != 3*(2+more) {
		t.Errorf("%d chunks are on the disk, %d dropped, %d are to be read again", d, n, a)
	}
	if st := e.Status()[0]; st.Dropped != 0 || st.OnDisk > keep.MaxBytes {
		t.Errorf("in the end %+v", st)
	}
}

// picky takes the first half of a request and wants the second again, is away for a while, and so on.
type picky struct {
	t     *testing.T
	mu    sync.Mutex
	calls int
	taken []string
}

func (d *picky) send(_ context.Context, r *request) Verdict {
	var m colmetrics.ExportMetricsServiceRequest
	d.mu.Lock()
	defer d.mu.Unlock()
	first, second, ok := r.split()
	v := Verdict{Kind: Again}
	switch d.calls++; {
	case d.calls%3 != 0: // away
		return v
	case ok:
		v.Rest, r = second, first
	default:
		v.Kind = OK
	}
	if err := proto.Unmarshal(r.bytes(), &m); err != nil {
		d.t.Error(err)
	}
	for _, name := range metricNames(&m) {
		name, _, _ = strings.Cut(name, " ")
		d.taken = append(d.taken, name)
	}
	return v
}

func (d *picky) close() {}

// A destination that answers for each record gets none twice that it took, though what waits lies on the
// disk; the disk does not tell which were taken out of the middle, so that their memory is kept.
func TestRestIsNotReadAgain(t *testing.T) {
	r, _ := outage(t)
	x := Exporters{"otlphttp": to(r)}
	b := BatchDefaults()
	b.Timeout = 5 * time.Millisecond
	e, err := New(Options{Batch: b, Exporters: x, Pipelines: DefaultPipelines(x, map[string][]string{"metrics": {"test"}}), Spool: SpoolDefaults(), SpoolDir: t.TempDir(), Version: "1", Log: silent, Registerer: newRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	e.close()
	d := &picky{t: t}
	e.outs["otlphttp"].dest = d
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	s := newSource(t)
	for range 3 {
		e.Input(otlp.Metrics, "test")(s.metrics("host", 16, 100))
	}
	eventually(t, "delivery", func() bool { st := e.Status()[0]; return st.Sent == 48 && st.OnDisk == 0 })
	cancel()
	<-done
	got := &receiver{t: t, got: d.taken}
	got.want("host", 48)
	s.want(3, 0, 0)
}
