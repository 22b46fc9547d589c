package agent

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
	"stint/scrape"
)

// captureOf reads what a real kubelet answered.
func captureOf(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open("../scrape/kubelet/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// twoSources are a kubelet and the cgroups of its pods, both of which tell the same: a counter has
// the value of its time, wherever it is read.
type twoSources struct {
	t       *testing.T
	root    string   // of the machine with the cgroups
	cgroups []string // directories, with the files of testdata
	pods    []byte
	stats   []byte
	server  *httptest.Server
	lag     time.Duration // how old the kubelet's figures are
	now     atomic.Int64  // time of the scrape, ns since 1970
}

// takeOverBegin is the time of the first scrape.
var takeOverBegin = time.Date(2026, 11, 22, 16, 0, 0, 0, time.UTC)

// cpuAt is the CPU time of everything, in ns, faultsAt are its page faults.
func cpuAt(at time.Time) int64    { return int64(at.Sub(takeOverBegin)/10) + int64(time.Hour) }
func faultsAt(at time.Time) int64 { return int64(at.Sub(takeOverBegin)/time.Second) + 1e6 }

func newTwoSources(t *testing.T, lag time.Duration) *twoSources {
	s := &twoSources{t: t, root: t.TempDir(), lag: lag, pods: captureOf(t, "pods.json.gz"), stats: captureOf(t, "stats_summary.busy.json.gz")}
	s.now.Store(takeOverBegin.UnixNano())
	s.write("proc/1/cgroup", "0::/init.scope\n")
	s.write("proc/1/mountinfo", "23 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
	s.write("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n")
	var list struct {
		Items []struct {
			Metadata struct{ UID string }
			Status   struct {
				ContainerStatuses []struct{ ContainerID string }
			}
		}
	}
	if err := json.Unmarshal(s.pods, &list); err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Items {
		dir := "sys/fs/cgroup/kubepods/burstable/pod" + p.Metadata.UID
		s.cgroups = append(s.cgroups, dir)
		for _, c := range p.Status.ContainerStatuses {
			if _, id, ok := strings.Cut(c.ContainerID, "://"); ok {
				s.cgroups = append(s.cgroups, dir+"/"+id)
			}
		}
	}
	for _, dir := range s.cgroups {
		for _, file := range []string{"memory.current", "memory.max", "memory.peak", "pids.current", "pids.max", "cpu.max", "cpu.weight", "io.stat"} {
			b, err := os.ReadFile("../scrape/cgroup/testdata/v2/" + file)
			if err != nil {
				t.Fatal(err)
			}
			s.write(dir+"/"+file, string(b))
		}
		for _, file := range []string{"cpu.pressure", "memory.pressure", "io.pressure"} { // as in the captures: none
			s.write(dir+"/"+file, "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
		}
	}
	s.move(takeOverBegin)
	s.start("127.0.0.1:0")
	t.Cleanup(s.stop)
	return s
}

func (s *twoSources) write(path, content string) {
	s.t.Helper()
	path = filepath.Join(s.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// move is a scrape later: the counters in the files are those of that time.
func (s *twoSources) move(at time.Time) {
	s.t.Helper()
	s.now.Store(at.UnixNano())
	for _, dir := range s.cgroups {
		if _, err := os.Stat(filepath.Join(s.root, "sys/fs/cgroup/kubepods")); err != nil {
			return // they are away
		}
		s.write(dir+"/cpu.stat", fmt.Sprintf("usage_usec %d\nuser_usec 0\nsystem_usec 0\nnr_periods 5\nnr_throttled 1\nthrottled_usec 7\n", cpuAt(at)/1000))
		s.write(dir+"/memory.stat", fmt.Sprintf("anon 4096\nfile 8192\ninactive_file 4096\npgfault %d\npgmajfault %d\n", 2*faultsAt(at), faultsAt(at)))
	}
}

var (
	timeField  = regexp.MustCompile(`"time": "[^"]*"`)
	cpuField   = regexp.MustCompile(`"usageCoreNanoSeconds": \d+`)
	faultField = regexp.MustCompile(`"pageFaults": \d+`)
	majorField = regexp.MustCompile(`"majorPageFaults": \d+`)
)

// start serves the captures, with times and counters of lag before the scrape.
func (s *twoSources) start(address string) {
	s.t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/pods":
			w.Write(s.pods)
		case "/stats/summary":
			at := time.Unix(0, s.now.Load()).Add(-s.lag).UTC()
			body := timeField.ReplaceAll(s.stats, fmt.Appendf(nil, `"time": "%s"`, at.Format(time.RFC3339)))
			body = cpuField.ReplaceAll(body, fmt.Appendf(nil, `"usageCoreNanoSeconds": %d`, cpuAt(at)))
			body = faultField.ReplaceAll(body, fmt.Appendf(nil, `"pageFaults": %d`, 2*faultsAt(at)))
			w.Write(majorField.ReplaceAll(body, fmt.Appendf(nil, `"majorPageFaults": %d`, faultsAt(at))))
		default:
			http.NotFound(w, r)
		}
	}))
	s.server.Listener.Close()
	s.server.Listener = listener
	s.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.server.StartTLS()
}

func (s *twoSources) stop() {
	if s.server != nil {
		s.server.CloseClientConnections()
		s.server.Close()
		s.server = nil
	}
}

// seen is a point that was sent.
type seen struct {
	source  string
	tick    int
	at      time.Time
	start   uint64
	value   float64
	counter bool
}

// TestTakeOver switches the kubelet, or the cgroups, off and on under the agent's own sources. The
// other one takes over within two intervals, under the same names, and gives way when it is back.
func TestTakeOver(t *testing.T) {
	const interval = 10 * time.Second
	for name, tc := range map[string]struct {
		winner string
		lag    time.Duration
	}{
		"the kubelet goes, 3 s behind":        {"kubelet", 3 * time.Second},
		"the kubelet goes, 12 s behind":       {"kubelet", 12 * time.Second},
		"the cgroups go, kubelet 3 s behind":  {"cgroup", 3 * time.Second},
		"the cgroups go, kubelet 12 s behind": {"cgroup", 12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTwoSources(t, tc.lag)
			address := s.server.Listener.Addr().String()
			cfg := testConfig(t)
			cfg.KubernetesNode = "lab-node-1"
			cfg.Scrape.RootPath, cfg.Scrape.Interval, cfg.Scrape.Dedup.Container, cfg.Scrape.Cgroup.Enabled = s.root, interval, tc.winner, "true"
			k := &cfg.Scrape.Kubelet
			k.Enabled, k.Endpoint, k.Interval, k.PodsAPISocket, k.TokenFile, k.CAFile, k.InsecureSkipVerify = "true", s.server.URL, interval, "", "", "", true
			log, reg := slog.New(slog.NewTextHandler(t.Output(), nil)), prometheus.NewRegistry()
			n, err := newNode(cfg, log, reg)
			if err != nil {
				t.Fatal(err)
			}
			sources, err := newSources(cfg, "1.2.3", n, func(source string) bool { return source != "host" }, log, reg)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var table sync.WaitGroup
			table.Go(func() { n.pods.Run(ctx) })
			t.Cleanup(func() {
				cancel()
				table.Wait()
				for _, src := range sources {
					if c, ok := src.(io.Closer); ok {
						c.Close()
					}
				}
			})
			n.known(ctx)

			all := map[string][]seen{}
			tick, counted := 0, 0
			scrapeAll := func() (failed bool) {
				at := takeOverBegin.Add(time.Duration(tick) * interval)
				s.move(at)
				for _, src := range sources {
					if err := scrapeInto(t, src, tick, at, all); err != nil {
						failed = true
					}
				}
				tick++
				return failed
			}
			// At the start what comes first is sent, until it is known that there is a better one;
			// that is over at settled. Between offAt and onAt the better one is away.
			const settled, offAt, onAt, ticks = 4, 6, 11, 16
			away := filepath.Join(s.root, "away")
			for tick < ticks {
				switch {
				case tick == settled:
					clear(all)
					counted = handOvers(t, reg)
				case tick == offAt && tc.winner == "kubelet":
					s.stop()
				case tick == onAt && tc.winner == "kubelet":
					s.start(address)
				case tick == offAt:
					err = os.Rename(filepath.Join(s.root, "sys/fs/cgroup/kubepods"), away)
				case tick == onAt:
					err = os.Rename(away, filepath.Join(s.root, "sys/fs/cgroup/kubepods"))
				}
				if err != nil {
					t.Fatal(err)
				}
				gone := tick >= offAt && tick < onAt
				if failed := scrapeAll(); failed != (gone && tc.winner == "kubelet") {
					t.Errorf("tick %d: a source failed: %v", tick-1, failed)
				}
			}
			checkTakeOver(t, all, tc.winner, offAt, onAt, interval, tc.lag, handOvers(t, reg)-counted)
		})
	}
}

// scrapeInto scrapes a source and adds what it sends to all, by series.
func scrapeInto(t *testing.T, src scrape.Source, tick int, at time.Time, all map[string][]seen) error {
	t.Helper()
	hand := func(g *otlp.Group, data []byte, _ int) {
		var md metricspb.MetricsData
		if err := proto.Unmarshal(append(g.AppendFrame(nil, len(data)), data...), &md); err != nil {
			t.Fatal(err)
		}
		rm := md.ResourceMetrics[0]
		entity := word(rm.Resource.Attributes, "container.id") + word(rm.Resource.Attributes, "k8s.pod.uid")
		if entity == "" {
			return // of the node
		}
		for _, m := range rm.ScopeMetrics[0].Metrics {
			points, counter := m.GetGauge().GetDataPoints(), false
			if sum := m.GetSum(); sum != nil {
				points, counter = sum.DataPoints, sum.IsMonotonic
			}
			for _, p := range points {
				series := m.Name + " of " + entity
				for _, kv := range p.Attributes {
					series += " " + kv.Key + "=" + kv.Value.GetStringValue()
				}
				all[series] = append(all[series], seen{
					source: src.Name(), tick: tick, at: time.Unix(0, int64(p.TimeUnixNano)), start: p.StartTimeUnixNano,
					value: p.GetAsDouble() + float64(p.GetAsInt()), counter: counter,
				})
			}
		}
	}
	for i := range src.Scrapers() {
		if err := src.Scrape(t.Context(), i, at, hand); err != nil {
			return err
		}
	}
	return nil
}

func word(kvs []*commonpb.KeyValue, key string) string {
	for _, kv := range kvs {
		if kv.Key == key {
			return kv.Value.GetStringValue() + " "
		}
	}
	return ""
}

// handOvers is what the agent counted of them.
func handOvers(t *testing.T, reg *prometheus.Registry) int {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "stint_scrape_hand_overs_total" {
			return int(f.Metric[0].GetCounter().GetValue())
		}
	}
	t.Fatal("there is no stint_scrape_hand_overs_total")
	return 0
}

// checkTakeOver looks at each series that both sources have sent: the better one before and after,
// the other meanwhile; no gap, nothing twice, nothing that falls.
func checkTakeOver(t *testing.T, all map[string][]seen, winner string, offAt, onAt int, interval, lag time.Duration, counted int) {
	t.Helper()
	quantities := map[string]bool{} // metric and entity: what is handed over
	names := map[string]bool{}
	for series, points := range all {
		both := slices.ContainsFunc(points, func(p seen) bool { return p.source != points[0].source })
		quantity, _, _ := strings.Cut(series, "=")
		if !both {
			continue
		}
		quantities[quantity[:strings.LastIndexByte(quantity+" ", ' ')]] = true
		metric, _, _ := strings.Cut(series, " ")
		names[metric] = true
		first, last := -1, -1 // ticks of the other's
		for i, p := range points {
			switch {
			case p.source == winner && p.tick >= offAt && p.tick < onAt:
				t.Errorf("%s: tick %d is the %s's, which is away", series, p.tick, winner)
			case p.source != winner:
				if first < 0 {
					first = p.tick
				}
				last = p.tick
			}
			if i == 0 {
				continue
			}
			before := points[i-1]
			switch {
			case p.tick == before.tick:
				t.Errorf("%s: tick %d: twice, by %s and %s", series, p.tick, before.source, p.source)
			case !p.at.After(before.at):
				t.Errorf("%s: tick %d: time %v, not after %v", series, p.tick, p.at, before.at)
			case p.at.Sub(before.at) > 2*interval+lag:
				t.Errorf("%s: tick %d: nothing for %v", series, p.tick, p.at.Sub(before.at))
			case p.counter && p.value < before.value:
				t.Errorf("%s: tick %d: %v after %v", series, p.tick, p.value, before.value)
			case p.counter && p.start != before.start:
				t.Errorf("%s: tick %d: start time %d, was %d", series, p.tick, p.start, before.start)
			}
		}
		if first < offAt || first > offAt+1 || last >= onAt+2 {
			t.Errorf("%s: the other took over at tick %d (want %d or %d) and was last sent at %d (the better one is back at %d)", series, first, offAt, offAt+1, last, onAt)
		}
		if end := points[len(points)-1]; end.source != winner {
			t.Errorf("%s: the last point is the %s's", series, end.source)
		}
	}
	for _, metric := range []string{
		"container.cpu.time", "container.memory.usage", "container.memory.rss", "container.memory.working_set", "container.paging.faults",
		"k8s.pod.cpu.time", "k8s.pod.memory.usage", "k8s.pod.memory.working_set",
	} {
		if !names[metric] {
			t.Errorf("%s was not handed over", metric)
		}
	}
	if counted != 2*len(quantities) {
		t.Errorf("%d hand-overs are counted, want there and back for %d quantities", counted, len(quantities))
	}
	t.Logf("%d quantities under %d names were handed over and back", len(quantities), len(names))
}
