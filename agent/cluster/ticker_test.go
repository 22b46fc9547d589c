//go:build cluster

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"

	"stint/agent/command"
	"stint/agent/process"
	"stint/export"
	"stint/export/otlp"
	"stint/scrape/kube"
)

// tick is one record of the source that these tests let replicas send.
type tick struct {
	Replica string        // its POD_NAME
	Term    int64         // of the lease
	Seq     int64         // within the term, from 1; a term that goes on after an outage goes on here
	At      time.Duration // CLOCK_BOOTTIME when it was handed over
	Last    bool          // of the term: its context had ended
	arrived time.Duration
}

// ticker is that source: a record each tickEvery, and a last one at the end of each term.
type ticker struct {
	d     kube.Deps
	group *otlp.Group
	stuck time.Duration // after so long it does nothing any more; 0 = never

	term int64

	mu    sync.Mutex // guards below
	seq   int64
	again []int64 // numbers of what was not sent
}

// Settled implements otlp.Origin.
func (s *ticker) Settled(c *otlp.Chunk, o otlp.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o == otlp.Aborted {
		s.again = append(s.again, int64(c.Mark))
	}
}

// number is that of the next record.
func (s *ticker) number() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.again) > 0 {
		n, s.again = s.again[0], s.again[1:]
		return n
	}
	s.seq++
	return s.seq
}

const tickEvery = 50 * time.Millisecond

func newTicker(_ *Config, d kube.Deps) (source, error) {
	stuck, err := time.ParseDuration(os.Getenv("TICKER_STUCK_AFTER"))
	return &ticker{d: d, group: otlp.NewGroup(nil, "", "ticker", ""), stuck: stuck}, err
}

// Run implements source.
func (s *ticker) Run(ctx context.Context) error {
	s.d.Progress.Every(time.Second)
	every := time.NewTicker(tickEvery)
	defer every.Stop()
	if t := s.d.Term(); t != s.term {
		s.mu.Lock()
		s.term, s.seq, s.again = t, 0, nil
		s.mu.Unlock()
	}
	for began := time.Now(); ; {
		if s.stuck == 0 || time.Since(began) < s.stuck || ctx.Err() != nil {
			s.send(ctx)
			s.d.Progress.Done()
		}
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-every.C:
		case <-ctx.Done():
		}
	}
}

func (s *ticker) send(ctx context.Context) {
	seq := s.number()
	body, err := json.Marshal(tick{Replica: os.Getenv("POD_NAME"), Term: s.d.Term(), Seq: seq, At: sinceBoot(), Last: ctx.Err() != nil})
	if err != nil {
		panic(err)
	}
	slab, err := s.d.Pool.Get(context.Background(), 1<<10)
	if err != nil {
		panic(err)
	}
	defer slab.Release()
	c := otlp.NewChunk(slab, otlp.AppendLogRecord(slab.Buf, &otlp.LogRecord{Body: body}))
	c.Group, c.Records, c.Signal, c.Origin, c.Mark = s.group, 1, otlp.Logs, s, uint64(seq)
	s.d.Out(c)
}

// replica is main of a test binary that is started as one.
func replica() int {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	cfg, report := Load(process.LoadArgs{File: os.Getenv("REPLICA_CONFIG"), Env: os.Environ()})
	for _, f := range report.Faults {
		log.Error(fmt.Sprint(f))
	}
	all := []listed{{"ticker", otlp.Logs, newTicker}}
	sources := []string{"ticker"}
	if s := os.Getenv("REPLICA_SOURCES"); s != "" { // those that there really are
		all, sources = leaderSources, strings.Fields(s)
	}
	cfg.Pipelines = export.Pipelines{"logs": {Sources: sources, Exporters: []string{"otlp"}}}
	if os.Getenv("REPLICA_STATE") != "" {
		cfg.Pipelines = export.Pipelines{"metrics": {Sources: []string{"state"}, Exporters: []string{"otlp"}}}
		cfg.State.Interval = time.Second
		all = sourcesOf(cfg)
	}
	c, err := newCluster(cfg, "test", all, log)
	if err == nil {
		ctx, stop := command.Signals(true)
		defer stop()
		err = c.Run(ctx)
	}
	if err != nil {
		log.Error("ended", "err", err)
		return 1
	}
	return 0
}

// receiver is a real OTLP/gRPC server that keeps what replicas sent.
type receiver struct {
	collogs.UnimplementedLogsServiceServer
	t *testing.T

	mu    sync.Mutex // guards below
	ticks []tick
	more  chan struct{} // closed and made anew when something comes
	slow  string        // the replica whose requests are answered when answer is closed
	until chan struct{}
}

// hold makes the destination slow for a replica; answer ends that.
func (r *receiver) hold(replica string) (answer func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	until := make(chan struct{})
	r.slow, r.until = replica, until
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.slow = ""
		close(until)
	})
}

// Export implements the OTLP service.
func (r *receiver) Export(_ context.Context, req *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	if until := r.take(req); until != nil {
		<-until
	}
	return &collogs.ExportLogsServiceResponse{}, nil
}

// take keeps what came, and says for what its answer waits.
func (r *receiver) take(req *collogs.ExportLogsServiceRequest) (until chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rl := range req.ResourceLogs {
		for _, sl := range rl.ScopeLogs {
			for _, l := range sl.LogRecords {
				var t tick
				if err := json.Unmarshal([]byte(l.Body.GetStringValue()), &t); err != nil {
					r.t.Errorf("a record %s: %v", strconv.Quote(l.Body.GetStringValue()), err)
				}
				t.arrived = sinceBoot()
				r.ticks = append(r.ticks, t)
				if t.Replica == r.slow {
					until = r.until
				}
			}
		}
	}
	close(r.more)
	r.more = make(chan struct{})
	return until
}

// all is what has come.
func (r *receiver) all() []tick {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ticks[:len(r.ticks):len(r.ticks)]
}

// wait returns the first tick from index `from` on that fits.
func (r *receiver) wait(what string, from int, within time.Duration, fits func(tick) bool) tick {
	r.t.Helper()
	limit := time.NewTimer(within)
	defer limit.Stop()
	for {
		r.mu.Lock()
		more, ticks := r.more, r.ticks
		r.mu.Unlock()
		for ; from < len(ticks); from++ {
			if fits(ticks[from]) {
				return ticks[from]
			}
		}
		select {
		case <-more:
		case <-limit.C:
			r.t.Fatalf("%s: not within %v", what, within)
		}
	}
}
