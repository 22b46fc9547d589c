package export

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stint/export/otlp"
	"stint/export/spool"
)

// spooled runs an exporter to r with a spool below dir.
func spooled(t testing.TB, dir string, x Exporters, keep Spool) (e *Exporting, stop func()) {
	t.Helper()
	return started(t, Options{Exporters: x, Pipelines: DefaultPipelines(x, map[string][]string{"metrics": {"test"}}), Spool: keep, SpoolDir: dir})
}

// forwarding is the same for logs that came over the network.
func forwarding(t testing.TB, x Exporters, keep Spool) (e *Exporting, stop func()) {
	t.Helper()
	return started(t, Options{Exporters: x, Pipelines: DefaultPipelines(x, map[string][]string{"logs": {"test"}}), Forwards: true, Spool: keep, SpoolDir: t.TempDir()})
}

func started(t testing.TB, o Options) (e *Exporting, stop func()) {
	t.Helper()
	o.Version, o.Log, o.Registerer = "1", silent, newRegistry()
	o.Batch = BatchDefaults()
	o.Batch.SendBatchMaxBytes, o.Batch.Timeout = 1<<20, 5*time.Millisecond // so that several find room in a small spool
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	return e, func() {
		cancel()
		<-done
	}
}

// eventually waits for a condition that others bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within 30 s", what)
		}
	}
}

// outage is a receiver that takes nothing while down is set.
func outage(t testing.TB) (r *receiver, down *atomic.Bool) {
	down = new(atomic.Bool)
	down.Store(true)
	return newHTTP(t, func(int, incoming) *reply {
		if down.Load() {
			return busy()
		}
		return nil
	}), down
}

func to(r *receiver) *OTLPHTTP {
	return &OTLPHTTP{Endpoint: "http://" + r.addr, Timeout: 10 * time.Second, RetryOnFailure: fast}
}

// What waits is on the disk: its origin is told, its memory is free, and after the outage all of
// it arrives once and in order, also what came meanwhile.
func TestOutageGoesToDisk(t *testing.T) {
	r, down := outage(t)
	live, _ := outage(t)
	live.answer = nil
	e, stop := spooled(t, t.TempDir(), Exporters{"otlphttp/dead": to(r), "otlphttp/live": to(live)}, SpoolDefaults())
	defer stop()
	s := newSource(t)
	const ticks = 100 // 20 MB; 4 MiB may wait in memory
	for range ticks {
		e.Input(otlp.Metrics, "test")(s.metrics("host", 20, 10_000))
	}
	eventually(t, "disk that has everything", func() bool { return e.Status()[0].Spooled == 20*ticks })
	eventually(t, "delivery to the other", func() bool { return len(live.records()) == 20*ticks })
	live.want("host", 20*ticks)
	eventually(t, "memory that is free, that of what is being sent, too", func() bool { return s.pool.Used() == 0 })
	if st := e.outs["otlphttp/dead"].status(otlp.Metrics); st.Sent != 0 || st.Dropped != 0 {
		t.Errorf("sent %d, dropped %d during the outage", st.Sent, st.Dropped)
	}
	down.Store(false)
	for range ticks {
		e.Input(otlp.Metrics, "test")(s.metrics("host", 20, 10_000))
	}
	eventually(t, "recovery", func() bool { return len(r.records()) >= 2*20*ticks })
	r.want("host", 2*20*ticks)
	eventually(t, "end", func() bool { d, _, _ := s.settled(); return d == 2*ticks })
	s.want(2*ticks, 0, 0)
	// What came from the disk is settled since it lay there.
	eventually(t, "empty spool", func() bool { return e.Status()[0].OnDisk == 0 })
	for _, st := range e.Status() {
		if st.Spooled != 0 || st.OnDisk != 0 || st.Dropped != 0 || st.Resent != 0 {
			t.Errorf("in the end: %+v", st)
		}
	}
}

// What may not be sent any more does not get to the disk; what got there when it still might is delivered: its origin
// was told so, and will not read it again.
func TestFenceAtTheDisk(t *testing.T) {
	r, _ := outage(t)
	hung, release := make(chan struct{}), make(chan struct{})
	busyAt := r.answer
	r.answer = func(n int, in incoming) *reply {
		if n == 1 {
			close(hung)
			<-release
		}
		return busyAt(n, in)
	}
	dir := t.TempDir()
	e, stop := spooled(t, dir, Exporters{"otlphttp": to(r)}, SpoolDefaults())
	var open atomic.Bool
	open.Store(true)
	s := newSource(t)
	add := func(host string) {
		t.Helper()
		before := e.Status()[0]
		c := s.metrics(host, 10, 100)
		c.Fence = open.Load
		e.Input(otlp.Metrics, "test")(c)
		eventually(t, "batch", func() bool {
			now := e.Status()[0]
			return now.Waiting > before.Waiting || now.Requests > before.Requests || now.Spooled > before.Spooled
		})
	}
	add("flying")
	<-hung
	add("waiting")
	open.Store(false)
	close(release) // it is away: all goes to the disk that may
	eventually(t, "answer to those that came too late", func() bool { _, _, a := s.settled(); return a == 2 })
	if st := e.Status()[0]; st.Spooled != 0 || st.OnDisk != 0 {
		t.Errorf("on the disk: %+v", st)
	}
	open.Store(true)
	add("early")
	eventually(t, "disk that has it", func() bool { return e.Status()[0].Spooled == 10 })
	open.Store(false)
	stop()
	s.want(1, 0, 2)
	// Elsewhere: what was under way there when that process ended may be answered late.
	next, down := outage(t)
	down.Store(false)
	e, stop = spooled(t, dir, Exporters{"otlphttp": to(next)}, SpoolDefaults())
	eventually(t, "delivery", func() bool { return e.Status()[0].Spooled == 0 && len(next.records()) > 0 })
	stop()
	next.want("early", 10)
	if n := len(next.records()); n != 10 {
		t.Errorf("%d records arrived, want 10", n)
	}
}

// What waits when the destination turns out to be away goes to disk, also when nothing comes any
// more: where the memory is small, it is in the way of what would come.
func TestOutageWithoutMore(t *testing.T) {
	r, _ := outage(t)
	away := make(chan struct{})
	r.answer = func(int, incoming) *reply { <-away; return busy() }
	e, stop := spooled(t, t.TempDir(), Exporters{"otlphttp": to(r)}, SpoolDefaults())
	defer stop()
	s := newSource(t)
	for n := range 3 {
		e.Input(otlp.Metrics, "test")(s.metrics("host", 10, 1000))
		eventually(t, "batch", func() bool { return e.Status()[0].Requests == 1 && e.Status()[0].Waiting == n })
	}
	close(away)
	eventually(t, "disk that has everything", func() bool { return e.Status()[0].Spooled == 30 })
}

// A destination that does not answer, and memory for less than what may wait in it: what waits makes
// room as soon as there is none.
func TestSmallMemory(t *testing.T) {
	r, _ := outage(t)
	hung, release := make(chan struct{}), make(chan struct{})
	r.answer = func(n int, _ incoming) *reply {
		if n == 1 {
			close(hung)
			<-release
		}
		return nil
	}
	x := to(r)
	x.Timeout = maxTimeout
	e, stop := spooled(t, t.TempDir(), Exporters{"otlphttp": x}, SpoolDefaults())
	defer stop()
	s := newSource(t)
	answer := sync.OnceFunc(func() { close(release) })
	defer answer()
	s.pool = otlp.NewPoolOf(32<<10, 1<<20, e.Spill)
	tick := func() { e.Input(otlp.Metrics, "test")(s.metrics("host", 10, 19_000)) } // 190 KB
	tick()
	<-hung
	for range 4 {
		tick()
	}
	eventually(t, "queue of the others", func() bool { return e.Status()[0].WaitBytes > 750_000 })
	if s.pool.TryGet(200_000) != nil {
		t.Fatal("there is memory")
	}
	eventually(t, "memory", func() bool { return s.pool.Used() < 300_000 }) // that of what is being sent
	for range 3 {
		tick()
	}
	answer()
	eventually(t, "delivery", func() bool { return e.Status()[0].Sent == 80 })
	r.want("host", 80)
}

// Ended in an outage, again and again: what was not delivered is there after the next start.
func TestRestartsInAnOutage(t *testing.T) {
	r, _ := outage(t)
	dir := t.TempDir()
	s := newSource(t)
	for round := range 5 {
		e, stop := spooled(t, dir, Exporters{"otlphttp": to(r)}, SpoolDefaults())
		for range 3 {
			e.Input(otlp.Metrics, "test")(s.metrics("host", 10, 1000))
		}
		if round%2 == 0 { // at once in the others
			eventually(t, "attempt", func() bool { return e.Status()[0].Requests > 0 })
		}
		stop()
	}
	s.want(15, 0, 0)
	after, down := outage(t) // the other may yet see to a request that was given up
	down.Store(false)
	e, stop := spooled(t, dir, Exporters{"otlphttp": to(after)}, SpoolDefaults())
	eventually(t, "delivery", func() bool { return len(after.records()) >= 150 })
	eventually(t, "answer", func() bool { return e.Status()[0].OnDisk == 0 }) // else the last is kept, and sent again
	stop()
	after.want("host", 150)
	if files, _ := filepath.Glob(filepath.Join(dir, "*", "*", "*"+spool.Suffix)); len(files) != 0 {
		t.Errorf("files are left: %v", files)
	}
}

// Killed in an outage: what its origin was told is safe comes after the restart.
func TestKilledInAnOutage(t *testing.T) {
	r, _ := outage(t)
	dir, copied := t.TempDir(), t.TempDir()
	s := newSource(t)
	e, stop := spooled(t, dir, Exporters{"otlphttp": to(r)}, SpoolDefaults())
	defer stop()
	for n := range 10 {
		e.Input(otlp.Metrics, "test")(s.metrics("host", 10, 1000))
		eventually(t, "attempt", func() bool { return e.Status()[0].Down != "" })
		eventually(t, "write", func() bool { return e.Status()[0].Spooled >= int64(10*(n+1)) })
	}
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil { // as a kill would leave it
		t.Fatal(err)
	}
	after, down := outage(t)
	down.Store(false)
	_, stop2 := spooled(t, copied, Exporters{"otlphttp": to(after)}, SpoolDefaults())
	defer stop2()
	eventually(t, "delivery", func() bool { return len(after.records()) >= 100 })
	after.want("host", 100)
}

// What comes from the disk is cut in two like anything else.
func TestReplayIsSplit(t *testing.T) {
	r, down := outage(t)
	dir := t.TempDir()
	s := newSource(t)
	e, stop := spooled(t, dir, Exporters{"otlphttp": to(r)}, SpoolDefaults())
	e.Input(otlp.Metrics, "test")(s.metrics("a", 50, 1000, 7))
	e.Input(otlp.Metrics, "test")(s.metrics("b", 50, 1000))
	stop()
	down.Store(false)
	bad, _ := outage(t)
	bad.answer = func(_ int, in incoming) *reply {
		switch {
		case in.size > 30_000:
			return tooBig()
		case in.bad:
			return refused()
		}
		return nil
	}
	e, stop = spooled(t, dir, Exporters{"otlphttp": to(bad)}, SpoolDefaults())
	defer stop()
	eventually(t, "delivery", func() bool { return len(bad.records()) >= 99 && e.Status()[0].OnDisk == 0 })
	bad.want("a", 50, 7)
	bad.want("b", 50)
	if st := e.Status()[0]; st.Dropped != 1 {
		t.Errorf("dropped %d, want 1", st.Dropped)
	}
}

// Over its limit the oldest go, and every record is delivered or counted.
func TestSpoolLimit(t *testing.T) {
	r, down := outage(t)
	keep := SpoolDefaults()
	keep.MaxBytes = 4 << 20
	e, stop := spooled(t, t.TempDir(), Exporters{"otlphttp": to(r)}, keep)
	defer stop()
	s := newSource(t)
	const ticks = 100
	for range ticks {
		e.Input(otlp.Metrics, "test")(s.metrics("host", 20, 10_000))
	}
	eventually(t, "end of writing", func() bool { st := e.Status()[0]; return st.Waiting == 0 && st.OnDisk > 0 })
	if st := e.Status()[0]; st.OnDisk > keep.MaxBytes {
		t.Errorf("%d bytes on the disk, the limit is %d", st.OnDisk, keep.MaxBytes)
	}
	down.Store(false)
	eventually(t, "recovery", func() bool { st := e.Status()[0]; return st.Sent+st.Dropped >= 20*ticks && st.OnDisk == 0 })
	if st := e.Status()[0]; int(st.Sent) != len(r.records()) || st.Sent+st.Dropped != 20*ticks {
		t.Errorf("%d arrived, sent %d, dropped %d of %d", len(r.records()), st.Sent, st.Dropped, 20*ticks)
	}
	if n := drops(t, e, "otlphttp", otlp.Metrics, spool.Full); n == 0 {
		t.Error("nothing is counted as dropped by the spool")
	}
}

// A directory that can't be used costs the spool, not the delivery.
func TestNoSpool(t *testing.T) {
	r, down := outage(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e, stop := spooled(t, file, Exporters{"otlphttp": to(r)}, SpoolDefaults())
	defer stop()
	s := newSource(t)
	e.Input(otlp.Metrics, "test")(s.metrics("host", 5, 100))
	down.Store(false)
	eventually(t, "delivery", func() bool { return len(r.records()) == 5 })
}

func TestSpoolConfig(t *testing.T) {
	err := Spool{MaxBytes: 1000, MaxAge: time.Second}.Check()
	if err == nil || !strings.Contains(err.Error(), "spool.max_bytes: 1000 is under 16 MiB") || !strings.Contains(err.Error(), "spool.max_age: 1s is under a minute") {
		t.Errorf("Check: %v", err)
	}
	if err := SpoolDefaults().Check(); err != nil {
		t.Error(err)
	}
}

// told is a log that tells when a message was written to it.
type told struct {
	message string
	once    sync.Once
	came    chan struct{}
}

// Write implements io.Writer.
func (l *told) Write(b []byte) (int, error) {
	if strings.Contains(string(b), l.message) {
		l.once.Do(func() { close(l.came) })
	}
	return len(b), nil
}

// A spool that can't be read now does not hold up the end: what is in it is safe where it is.
func TestEndWithUnreadableSpool(t *testing.T) {
	r, down := outage(t)
	dir, s := t.TempDir(), newSource(t)
	x := Exporters{"otlphttp": to(r)}
	first, stop := spooled(t, dir, x, SpoolDefaults())
	first.Input(otlp.Metrics, "test")(s.metrics("host", 10, 1000))
	stop()

	l := &told{message: "spool can't be read", came: make(chan struct{})}
	e, err := New(Options{Batch: BatchDefaults(), Exporters: x, Pipelines: DefaultPipelines(x, map[string][]string{"metrics": {"test"}}), Spool: SpoolDefaults(), SpoolDir: dir, Version: "1", Log: slog.New(slog.NewTextHandler(l, nil)), Registerer: newRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*", "*"+spool.Suffix))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(files[0], 0o700); err != nil { // it can be opened, and not be read
		t.Fatal(err)
	}
	down.Store(false)
	done := make(chan struct{})
	go func() { defer close(done); e.Run(context.Background()) }()
	<-l.came
	e.CloseInput()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Error("Run goes on 5 s after the end of its input")
		<-done
	}
}

// A spool that nobody reads is named, wherever the state directory is.
func TestLeftover(t *testing.T) {
	r, _ := outage(t)
	dir := filepath.Join(t.TempDir(), "state[1]")
	s := newSource(t)
	e, stop := spooled(t, dir, Exporters{"otlphttp/old": to(r)}, SpoolDefaults())
	e.Input(otlp.Metrics, "test")(s.metrics("host", 5, 100))
	stop()
	for name, tc := range map[string]struct {
		exporter, dir string
		enabled, want bool
	}{
		"another exporter": {"otlphttp/new", dir, true, true},
		"the same":         {"otlphttp/old", dir, true, false},
		"no spool":         {"otlphttp/old", dir, false, true},
		"no directory":     {"otlphttp/new", "", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(dir + "/..")
			if tc.dir == "" {
				t.Chdir(dir)
			}
			l := &told{message: "to deliver it", came: make(chan struct{})}
			x, keep := Exporters{tc.exporter: to(r)}, SpoolDefaults()
			keep.Enabled = tc.enabled
			if _, err := New(Options{Batch: BatchDefaults(), Exporters: x, Pipelines: DefaultPipelines(x, map[string][]string{"metrics": {"test"}}), Spool: keep, SpoolDir: tc.dir, Version: "1", Log: slog.New(slog.NewTextHandler(l, nil)), Registerer: newRegistry()}); err != nil {
				t.Fatal(err)
			}
			got := false
			select {
			case <-l.came:
				got = true
			default:
			}
			if got != tc.want {
				t.Errorf("told: %v, want %v", got, tc.want)
			}
		})
	}
}

// Logs that came over the network wait in no file: over the limit of the spool their oldest go, too.
func TestSpoolLimitOfForwardedLogs(t *testing.T) {
	r, down := outage(t)
	keep := SpoolDefaults()
	keep.MaxBytes = 4 << 20
	e, stop := forwarding(t, Exporters{"otlphttp": to(r)}, keep)
	defer stop()
	s := newSource(t)
	status := func() (sum Status) { // of both lanes
		for _, st := range e.Status() {
			sum.Sent, sum.Dropped, sum.OnDisk, sum.Waiting = sum.Sent+st.Sent, sum.Dropped+st.Dropped, sum.OnDisk+st.OnDisk, sum.Waiting+st.Waiting
		}
		return sum
	}
	const ticks = 100
	for n := range ticks {
		e.Input(otlp.Logs, "test")(s.logs("host", 20, 10_000))
		eventually(t, "place for it", func() bool { d, r, _ := s.settled(); return d+r > n-40 }) // 4 MiB, 20 chunks, may wait in memory
	}
	down.Store(false)
	eventually(t, "recovery", func() bool {
		st := status()
		return st.Sent+st.Dropped >= 20*ticks && st.OnDisk == 0 && st.Waiting == 0
	})
	got := map[string]bool{}
	for _, text := range r.records() {
		got[strings.Fields(text)[0]] = true
	}
	if got[body("host", 0)] || !got[body("host", 20*ticks-1)] {
		t.Error("what is oldest was kept in place of what is new")
	}
	for n := 20*ticks - 100; n < 20*ticks; n++ {
		if !got[body("host", n)] {
			t.Errorf("record %d of %d, one of the newest, is lost", n, 20*ticks)
			break
		}
	}
	if st := status(); st.Sent+st.Dropped != 20*ticks || drops(t, e, "otlphttp", otlp.Logs, spool.Full) == 0 {
		t.Errorf("sent %d, dropped %d of %d", st.Sent, st.Dropped, 20*ticks)
	}
}

// Who sent records is answered while a destination keeps its own answer: the disk has them, what is being sent included,
// or they come back, as the disk has no room.
func TestSlowDestination(t *testing.T) {
	r := newHTTP(t, func(int, incoming) *reply { return &reply{hang: true} })
	x := to(r)
	x.Timeout = time.Minute
	keep := SpoolDefaults()
	keep.MaxBytes, keep.WhenFull = 2<<20, refuse
	e, stop := forwarding(t, Exporters{"otlphttp": x}, keep)
	defer stop()
	s := newSource(t)
	const chunks = 15 // 3 MB; 4 MiB may wait in memory
	for range chunks {
		c := s.logs("host", 20, 10_000)
		c.Again = true
		e.Input(otlp.Logs, "test")(c)
	}
	eventually(t, "answer", func() bool { d, _, a := s.settled(); return d+a == chunks })
	if d, _, a := s.settled(); d == 0 || a == 0 || r.count() != 1 {
		t.Errorf("%d are on the disk, %d came back, after %d requests", d, a, r.count())
	}
}
