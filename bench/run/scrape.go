package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// figure is something measured of scraping, with what is wanted of it.
type figure struct {
	What   string    `json:"what"`
	Method string    `json:"method"`
	Unit   string    `json:"unit"`
	Median float64   `json:"median"`
	Rounds []float64 `json:"rounds"`
	AtMost *float64  `json:"wanted_at_most,omitempty"` // nil: it is only told
}

// scrapeResult are the figures of the scenario scrape.
type scrapeResult struct {
	Cgroups       string   `json:"cgroups"`       // version of those that were read
	NodeExporter  string   `json:"node_exporter"` // version of its module
	ScrapesARound int      `json:"scrapes_a_round"`
	Figures       []figure `json:"figures"`
}

const (
	outside = "process, from outside, a scrape a second"
	hot     = "benchmark, one scrape after the other"
	// scrapeWarmUp is how long an agent runs before it is measured: buffers have grown, and
	// what is new is known.
	scrapeWarmUp = 8 * time.Second
)

// scrape measures what a scrape costs, beside node_exporter.
func (b *bench) scrape(ctx context.Context, v variant, rounds, scrapes int) (*scrapeResult, error) {
	exporter, err := filepath.Abs(filepath.Join(b.repo, "bin/node_exporter"))
	if err != nil {
		return nil, err
	}
	if !exists(exporter) {
		return nil, errors.New("bin/node_exporter is missing: run make bin/node_exporter first")
	}
	res := &scrapeResult{ScrapesARound: scrapes}
	info, err := buildinfo.ReadFile(exporter)
	if err != nil {
		return nil, err
	}
	res.NodeExporter = info.Main.Version

	sleepers, err := startSleepers(sleepingProcesses)
	defer sleepers.stop()
	if err != nil {
		return nil, fmt.Errorf("start %d processes: %w", sleepingProcesses, err)
	}
	processBench, err := b.goBench(ctx, rounds, "./scrape/host", "^BenchmarkProcesses$/^this_machine$")
	if err != nil {
		return nil, err
	}
	var process, idle, host, theirs, node, rss, peak, anonymous []float64 // ms of CPU a scrape, MiB
	nothing := []string{"scrape.host.enabled=false", "scrape.cgroup.enabled=false", "scrape.kubelet.enabled=false"}
	onlyHost := []string{"scrape.host.enabled=true", "scrape.cgroup.enabled=false", "scrape.kubelet.enabled=false"}
	for range rounds {
		m, err := b.agentScrapes(ctx, v, scrapes, nil, onlyHost, append(slices.Clone(onlyHost), "scrape.host.process.enabled=true", "scrape.host.process.min_age=0s"))
		if err != nil {
			return nil, err
		}
		process = append(process, m[1].cpu-m[0].cpu)
	}
	if err := sleepers.stop(); err != nil {
		return nil, err
	}

	groups, err := makeCgroups()
	if err != nil {
		return nil, err
	}
	defer groups.remove()
	res.Cgroups = groups.version
	k, err := newKubelet(b.dir, filepath.Join(b.repo, "scrape/kubelet/testdata"))
	if err != nil {
		return nil, err
	}
	defer k.close()
	all := []string{
		"scrape.host.enabled=true", "scrape.cgroup.enabled=true", "scrape.kubelet.enabled=true", "scrape.kubelet.interval=1s", "scrape.kubelet.endpoint=" + k.endpoint,
		"scrape.kubelet.ca_file=" + k.caFile, "scrape.kubelet.token_file=", "scrape.kubelet.pods_api_socket=",
	}
	for range rounds {
		all, err := b.agentScrapes(ctx, v, scrapes, nil, all)
		if err != nil {
			return nil, err
		}
		m := all[0]
		if m.points["cgroup"] < podCount*containersOfPod || m.points["kubelet"] < podCount || m.points["host"] == 0 {
			return nil, fmt.Errorf("points a scrape by source: %v; there are %d containers, %d summaries were asked for", m.points, podCount*containersOfPod, k.summaries.Load())
		}
		node, rss, peak, anonymous = append(node, m.cpu), append(rss, m.rss), append(peak, m.peak), append(anonymous, m.anonymous)
	}
	if err := groups.remove(); err != nil {
		return nil, err
	}

	for round := range rounds {
		ne, err := b.startExporter(ctx, exporter, round)
		if err != nil {
			return nil, err
		}
		m, err := b.agentScrapes(ctx, v, scrapes, ne, nothing, onlyHost)
		ne.kill()
		if err != nil {
			return nil, err
		}
		idle, host, theirs = append(idle, m[0].cpu), append(host, m[1].cpu-m[0].cpu), append(theirs, m[1].peerCPU)
	}
	burst, err := b.exporterBurst(ctx, exporter, rounds)
	if err != nil {
		return nil, err
	}
	benches := map[string][]microResult{}
	for _, at := range []struct{ pkg, name string }{
		{"./scrape/host", "^BenchmarkScrape$/^all$"}, {"./scrape/kubelet", "^BenchmarkStatsPoll$/^sent$"}, {"./scrape/cgroup", "^BenchmarkScrape$/^names=semconv$/^containers=220$"},
	} {
		if benches[at.pkg], err = b.goBench(ctx, rounds, at.pkg, at.name); err != nil {
			return nil, err
		}
	}
	hostBench, kubeletBench, cgroupBench := benches["./scrape/host"], benches["./scrape/kubelet"], benches["./scrape/cgroup"]

	const ms, ratio, mib, allocs = "ms of CPU", "ratio", "MiB", "allocations"
	add := func(what, method, unit string, atMost float64, rounds []float64) {
		f := figure{What: what, Method: method, Unit: unit, Median: middle(rounds), Rounds: rounds}
		if atMost >= 0 {
			f.AtMost = &atMost
		}
		res.Figures = append(res.Figures, f)
	}
	by := func(a, b []float64) (q []float64) {
		for i := range a {
			q = append(q, a[i]/b[i])
		}
		return q
	}
	add("agent without a source", outside, ms, -1, idle)
	add("host, defaults", outside+", less the agent without a source beside it", ms, 0.6, host)
	add("host, defaults", hot, ms, 0.6, perOp(hostBench, "cpu-ns/op", 1e-6))
	add("node_exporter, defaults", outside+", at the same time", ms, -1, theirs)
	add("node_exporter, defaults", "process, from outside, one GET after the other", ms, -1, burst)
	add("host / node_exporter", outside, ratio, 1.0/15, by(host, theirs))
	add("host / node_exporter", "one scrape after the other", ratio, 1.0/15, by(perOp(hostBench, "cpu-ns/op", 1e-6), burst))
	add("summary of 110 pods x 2 containers x 3 volumes", hot, ms, 1.5, perOp(kubeletBench, "cpu-ns/op", 1e-6))
	add("cgroup files of 220 containers, "+groups.version, hot, ms, 5, perOp(cgroupBench, "cpu-ns/op", 1e-6))
	add("1,000 processes", outside+", less an agent with host alone beside it", ms, 15, process)
	add("1,000 processes", hot, ms, 15, perOp(processBench, "cpu-ns/op", 1e-6))
	add("host + 110 pods by kubelet and cgroup", outside, ms, -1, node)
	add("RSS of that agent, at the end", "VmRSS", mib, 30, rss)
	add("RSS of that agent, without what is mapped from its binary", "RssAnon", mib, -1, anonymous)
	add("RSS of that agent, most", "VmHWM", mib, -1, peak)
	add("host", hot, allocs, 0, perOp(hostBench, "allocs/op", 1))
	add("kubelet", hot, allocs, 0, perOp(kubeletBench, "allocs/op", 1))
	add("cgroup", hot, allocs, 0, perOp(cgroupBench, "allocs/op", 1))
	add("1,000 processes", hot, allocs, 0, perOp(processBench, "allocs/op", 1))
	return res, nil
}

// scraping is what an agent used while it scraped.
type scraping struct {
	cpu       float64          // ms a scrape
	peerCPU   float64          // of node_exporter, ms a GET
	rss, peak float64          // MiB
	anonymous float64          // MiB of rss that are not the binary's file
	points    map[string]int64 // a scrape, by source
}

// agentScrapes measures agents that scrape every second, side by side on one CPU: what disturbs one
// disturbs all. ne, if it is not nil, is asked between two scrapes. Each agent has its settings.
func (b *bench) agentScrapes(ctx context.Context, v variant, scrapes int, ne *exporter, agents ...[]string) ([]scraping, error) {
	var rigs []*rig
	defer func() {
		for _, r := range rigs {
			r.close()
		}
	}()
	for _, set := range agents {
		r, err := b.newRig(ctx)
		if err != nil {
			return nil, err
		}
		rigs = append(rigs, r)
		if err := r.startAgent(v, r.pods, append([]string{"scrape.interval=1s"}, set...)...); err != nil {
			return nil, err
		}
	}
	if err := rigs[0].wait(ctx, scrapeWarmUp); err != nil {
		return nil, err
	}
	all := make([]scraping, len(rigs))
	before := make([]map[string]int64, len(rigs))
	for i, r := range rigs {
		var err error
		if before[i], err = r.pointsBySource(ctx); err != nil {
			return nil, err
		}
	}
	// The agents scrape at whole seconds: half way between two, so many seconds are so many scrapes.
	if err := rigs[0].wait(ctx, time.Until(time.Now().Truncate(time.Second).Add(1500*time.Millisecond))); err != nil {
		return nil, err
	}
	cpu := make([]time.Duration, len(rigs))
	for i, r := range rigs {
		var err error
		if cpu[i], err = r.agent.runTime(); err != nil {
			return nil, err
		}
	}
	var theirs time.Duration
	end := time.Now().Truncate(time.Second).Add(time.Duration(scrapes)*time.Second + 500*time.Millisecond)
	for n := range scrapes {
		if ne != nil {
			used, err := ne.get(ctx)
			if err != nil {
				return nil, err
			}
			theirs += used
		}
		if err := rigs[0].wait(ctx, time.Until(end.Add(time.Duration(n+1-scrapes)*time.Second))); err != nil {
			return nil, err
		}
	}
	for i, r := range rigs {
		used, err := r.agent.runTime()
		if err != nil {
			return nil, err
		}
		all[i].cpu = (used - cpu[i]).Seconds() * 1000 / float64(scrapes)
		all[i].peerCPU = theirs.Seconds() * 1000 / float64(scrapes)
	}
	for i, r := range rigs {
		m := &all[i]
		after, err := r.pointsBySource(ctx)
		if err != nil {
			return nil, err
		}
		m.points = map[string]int64{}
		for source := range after {
			m.points[source] = (after[source] - before[i][source]) / int64(scrapes)
		}
		rss, peak, err := r.agent.memory()
		if err != nil {
			return nil, err
		}
		m.rss, m.peak = float64(rss)/(1<<20), float64(peak)/(1<<20)
		if m.anonymous, err = r.agent.anonymous(); err != nil {
			return nil, err
		}
		if err := r.agent.stop(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// pointsBySource is how many points the agent has read so far.
func (r *rig) pointsBySource(ctx context.Context) (map[string]int64, error) {
	text, err := get(ctx, "http://"+r.admin+"/metrics")
	if err != nil {
		return nil, fmt.Errorf("metrics of the agent: %w", err)
	}
	points := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, `stint_scrape_points_total{source="`)
		source, value, found := strings.Cut(strings.TrimSpace(rest), `"} `)
		if !ok || !found {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
		points[source] = int64(n)
	}
	return points, nil
}

// exporter is a node_exporter.
type exporter struct {
	*process
	url    string
	client *http.Client
}

// startExporter starts one with its defaults on the agent's CPU and asks it some times.
func (b *bench) startExporter(ctx context.Context, path string, round int) (*exporter, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	ne := &exporter{url: "http://" + address + "/metrics"}
	// One connection, as Prometheus has; no compression: ours is sent without it, too.
	ne.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableCompression: true, MaxIdleConns: 1}}
	if ne.process, err = startProcess(b.dir, fmt.Sprintf("node_exporter-%d", round), b.agentCPU, path, "--web.listen-address="+address); err != nil {
		return nil, err
	}
	err = poll(ctx, 20*time.Millisecond, 10*time.Second, func() (bool, error) {
		_, err := ne.get(ctx)
		return err == nil, ne.gone()
	})
	for range 20 {
		if err == nil {
			_, err = ne.get(ctx)
		}
	}
	if err != nil {
		ne.kill()
		return nil, fmt.Errorf("node_exporter: %w", err)
	}
	return ne, nil
}

// get asks for everything and returns the CPU time that this took.
func (ne *exporter) get(ctx context.Context) (time.Duration, error) {
	before, err := ne.runTime()
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ne.url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := ne.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n < 10_000 || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s, %d bytes, %w", ne.url, resp.Status, n, err)
	}
	after, err := ne.runTime()
	return after - before, err
}

// exporterBurst is the CPU time in ms of a GET, in rounds of 100, one after the other.
func (b *bench) exporterBurst(ctx context.Context, path string, rounds int) ([]float64, error) {
	ne, err := b.startExporter(ctx, path, rounds)
	if err != nil {
		return nil, err
	}
	defer ne.kill()
	var all []float64
	for range rounds {
		const gets = 100
		before, err := ne.runTime()
		if err != nil {
			return nil, err
		}
		for range gets {
			if _, err := ne.get(ctx); err != nil {
				return nil, err
			}
		}
		after, err := ne.runTime()
		if err != nil {
			return nil, err
		}
		all = append(all, (after-before).Seconds()*1000/gets)
	}
	return all, nil
}

// goBench runs a benchmark of the root module so many times, on one CPU.
func (b *bench) goBench(ctx context.Context, rounds int, pkg, name string) ([]microResult, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-tags=grpcnotrace", "-run", "xxx", "-bench", name, "-benchmem", "-benchtime", "1s", "-cpu", "1", "-count", strconv.Itoa(rounds), pkg)
	cmd.Dir = b.repo
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go test -bench %s %s: %w\n%s", name, pkg, err, out)
	}
	all := parseMicro(string(out))
	if len(all) != rounds {
		return nil, fmt.Errorf("go test -bench %s %s: %d results, want %d:\n%s", name, pkg, len(all), rounds, out)
	}
	return all, nil
}

func perOp(all []microResult, unit string, factor float64) (values []float64) {
	for _, m := range all {
		values = append(values, m.Values[unit]*factor)
	}
	return values
}

func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// sleepers are processes that do nothing.
type sleepers []*exec.Cmd

func startSleepers(n int) (s sleepers, err error) {
	for range n {
		cmd := exec.Command("sleep", "3600") // should this process be killed
		if err := cmd.Start(); err != nil {
			return s, err
		}
		s = append(s, cmd)
	}
	return s, nil
}

func (s *sleepers) stop() error {
	var errs []error
	for _, cmd := range *s {
		errs = append(errs, cmd.Process.Signal(syscall.SIGKILL))
	}
	for _, cmd := range *s {
		cmd.Wait() // which was killed
	}
	*s = nil
	return errors.Join(errs...)
}
