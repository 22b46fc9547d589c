package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// result is what a run leaves behind.
type result struct {
	Time      time.Time        `json:"time"`
	Command   string           `json:"command"`
	Machine   machine          `json:"machine"`
	Backlog   *backlog         `json:"backlog,omitempty"`
	Drain     []drainRound     `json:"drain_median,omitempty"`
	Rounds    []drainRound     `json:"drain_rounds,omitempty"`
	Follow    []followed       `json:"follow,omitempty"`
	Outage    []outageResult   `json:"outage,omitempty"`
	Limit     []limitResult    `json:"limit,omitempty"`
	Send      []sendResult     `json:"send,omitempty"`
	Gateway   []gatewayResult  `json:"gateway,omitempty"`
	Overload  []overloadResult `json:"overload,omitempty"`
	Scrape    *scrapeResult    `json:"scrape,omitempty"`
	Footprint []figure         `json:"footprint,omitempty"`
	Spool     []spoolResult    `json:"spool,omitempty"`
	Micro     []microResult    `json:"micro,omitempty"`
	Cluster   []clusterResult  `json:"cluster,omitempty"`
	HostOn    bool             `json:"host_scraper"`
	Set       []string         `json:"agent_set,omitempty"`
	AgentCPU  int              `json:"agent_cpu"`
	SinkCPU   int              `json:"sink_cpu"`
}

// machine is what the figures depend on besides the code.
type machine struct {
	CPU         string `json:"cpu"`
	CPUs        int    `json:"cpus"`
	MemoryBytes int64  `json:"memory_bytes"`
	Kernel      string `json:"kernel"`
	Go          string `json:"go"`
	Commit      string `json:"commit"` // with "+" when files differ from it
	Agent       string `json:"agent"`  // what it says its version is
	AgentBytes  int64  `json:"agent_binary_bytes"`
	Load        string `json:"load_before"` // /proc/loadavg: what else ran spoils the figures
}

func (b *bench) machine() machine {
	m := machine{CPUs: runtime.NumCPU(), Go: runtime.Version()}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int64
		fmt.Sscanf(string(text), "MemTotal: %d kB", &kib)
		m.MemoryBytes = kib << 10
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(text))
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(text))[:3], " ")
	}
	output := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	m.Commit = output("git", "-C", b.repo, "rev-parse", "HEAD")
	if output("git", "-C", b.repo, "status", "--porcelain") != "" {
		m.Commit += "+"
	}
	m.Agent = output(b.agentBinary, "version")
	if info, err := os.Stat(b.agentBinary); err == nil {
		m.AgentBytes = info.Size()
	}
	return m
}

func (r *result) write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// print writes the tables.
func (r *result) print(out io.Writer) {
	fmt.Fprintf(out, "%s, %d CPUs, Linux %s, %s, commit %s, load %s\n",
		r.Machine.CPU, r.Machine.CPUs, r.Machine.Kernel, r.Machine.Go, r.Machine.Commit, r.Machine.Load)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	mib := func(n int64) float64 { return float64(n) / (1 << 20) }
	if len(r.Drain) > 0 {
		fmt.Fprintf(out, "\ndrain of %.0f MB, %d lines; median of %d rounds\n", float64(r.Backlog.Bytes)/1e6, r.Backlog.Lines, len(r.Rounds)/len(r.Drain))
		fmt.Fprintln(t, "variant\tMB/CPU s\tMB/s\tCPU s\tof it user\tafter ready\tCPU s/GB\tcompressor s\tratio\tpeak RSS MiB\twire MB\tlost\trepeated\tout of order\t")
		for _, d := range r.Drain {
			fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.0f\t%d\t%d\t%d\t\n", d.Variant, d.MBPerCPUSecond, d.MBPerSecond,
				d.CPUSeconds, d.CPUUser, d.CPUAfterReady, d.CPUSecsPerGB, d.CompressorCPU, d.Ratio, mib(d.PeakRSS), float64(d.WireBytes)/1e6, d.Lost, d.Repeated, d.OutOfOrder)
		}
		t.Flush()
	}
	if len(r.Follow) > 0 {
		fmt.Fprintf(out, "\nfollow\n")
		fmt.Fprintln(t, "scenario\tvariant\tcontainers\tlines/s\tfor s\tCPU %\tof it user\tRSS MiB\tpeak RSS MiB\tlines\tlost\trepeated\tout of order\t")
		for _, s := range r.Follow {
			fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%.0f\t%.2f\t%.2f\t%.1f\t%.1f\t%d\t%d\t%d\t%d\t\n", s.Scenario, s.Variant, s.Containers, s.LinesPerSecond,
				s.Seconds, s.CPUPercent, s.CPUUserPercent, mib(s.RSS), mib(s.PeakRSS), s.Lines, s.Lost, s.Repeated, s.OutOfOrder)
		}
		t.Flush()
	}
	if len(r.Outage) > 0 {
		fmt.Fprintf(out, "\noutage\n")
		fmt.Fprintln(t, "variant\tcontainers\tlines/s\tfor s\tresumed s after\tcaught up s after\tpeak RSS MiB\tpeak deleted MiB\trotations\trefused\tlines\tlost\trepeated\tout of order\t")
		for _, o := range r.Outage {
			fmt.Fprintf(t, "%s\t%d\t%d\t%.0f\t%.1f\t%.1f\t%.1f\t%.1f\t%d\t%d\t%d\t%d\t%d\t%d\t\n", o.Variant, o.Containers, o.LinesPerSecond, o.OutageSeconds,
				o.ResumedAfter, o.CaughtUpAfter, mib(o.PeakRSS), mib(o.PeakDeleted), o.Rotations, o.Refused, o.Lines, o.Lost, o.Repeated, o.OutOfOrder)
		}
		t.Flush()
	}
	if len(r.Limit) > 0 {
		fmt.Fprintf(out, "\nlimit\n")
		fmt.Fprintln(t, "variant\tcontainers\tlimit MiB\tfor s\tpeak of the cgroup MiB\tpeak RSS MiB\tOOM kills\trefused\tlines\tlost\trepeated\tout of order\t")
		for _, l := range r.Limit {
			fmt.Fprintf(t, "%s\t%d\t%d\t%.1f\t%.1f\t%.1f\t%d\t%d\t%d\t%d\t%d\t%d\t\n", l.Variant, l.Containers, l.LimitMiB, l.Seconds,
				mib(l.PeakMemory), mib(l.PeakRSS), l.OOMKills, l.Refused, l.Lines, l.Lost, l.Repeated, l.OutOfOrder)
		}
		t.Flush()
	}
	if len(r.Send) > 0 {
		fmt.Fprintf(out, "\nencode, batch and send; median of %d rounds\n", len(r.Send[0].Rounds))
		fmt.Fprintln(t, "variant\tMB/CPU s\tleast\tmost\tMB/s\t")
		for _, s := range r.Send {
			fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t\n", s.Variant, s.MBPerCPUSecond, slices.Min(s.Rounds), slices.Max(s.Rounds), s.MBPerSecond)
		}
		t.Flush()
	}
	if len(r.Gateway) > 0 {
		fmt.Fprintf(out, "\ngateway, logs of %d bytes in requests of %d; median of %d rounds\n", gatewayBody, gatewayBatch, len(r.Gateway[0].Rounds))
		fmt.Fprintln(t, "gateway\tin\tout\trecords/CPU s\tleast\tmost\tMB/CPU s\tpeak RSS MiB\tlost\tratio\t")
		for _, g := range r.Gateway {
			ratio := ""
			if g.Ratio > 0 {
				ratio = fmt.Sprintf("%.1f", g.Ratio)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%d\t%s\t\n", g.Gateway, g.In, g.Out, g.RecordsPerCPUSecond, slices.Min(g.Rounds), slices.Max(g.Rounds), g.MBPerCPUSecond, mib(g.PeakRSS), g.Lost, ratio)
		}
		t.Flush()
	}
	if len(r.Overload) > 0 {
		fmt.Fprintf(out, "\noverload\n")
		fmt.Fprintln(t, "limit MiB\tclients\tcapacity/s\toffered/s\tfor s\tacknowledged\tarrived\trepeated\tlost\trefused\twithout a delay\tunanswered\tpeak of the cgroup MiB\tpeak RSS MiB\tOOM kills\t")
		for _, o := range r.Overload {
			fmt.Fprintf(t, "%d\t%d\t%d\t%.0f\t%.0f\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t%d\t\n", o.LimitMiB, o.Clients, o.CapacityRecords, float64(o.Offered)/o.Seconds, o.Seconds,
				o.Acknowledged, o.Arrived, o.Repeated, o.Lost, o.Refused, o.Hasty, o.Unanswered, mib(o.PeakMemory), mib(o.PeakRSS), o.OOMKills)
		}
		t.Flush()
	}
	if r.Scrape != nil {
		fmt.Fprintf(out, "\nscrape; node_exporter %s; %d scrapes a round, median of %d rounds\n", r.Scrape.NodeExporter, r.Scrape.ScrapesARound, len(r.Scrape.Figures[0].Rounds))
		printFigures(out, r.Scrape.Figures)
	}
	if len(r.Footprint) > 0 {
		fmt.Fprintf(out, "\nfootprint; median of %d rounds\n", len(r.Footprint[0].Rounds))
		printFigures(out, r.Footprint)
	}
	if len(r.Spool) > 0 {
		fmt.Fprintf(out, "\nspool; each request synced; median of %d rounds\n", len(r.Spool[0].Rounds))
		fmt.Fprintln(t, "request KiB\twriters\tMB/s\tdisk alone MB/s\tratio\t")
		for _, s := range r.Spool {
			for _, w := range s.Writers {
				fmt.Fprintf(t, "%d\t%d\t%.0f\t%.0f\t%.2f\t\n", s.RequestBytes>>10, w.Writers, w.MBPerSecond, s.DiskMB, w.Ratio)
			}
		}
		t.Flush()
	}
	if len(r.Cluster) > 0 {
		fmt.Fprintf(out, "\ncluster; %d pods change a second in the last two columns but one\n", r.Cluster[0].Changes)
		fmt.Fprintln(t, "what\tcompression\tpods\tfirst sync s\tCPU s\tfirst set s\tpoints a set\tevery s\tCPU s a set\tCPU %\tchanges add %\tpeak MiB after first set\tRSS MiB\tpeak MiB\tstopped\t")
		for _, c := range r.Cluster {
			fmt.Fprintf(t, "%s %s\t%s\t%d\t%.1f\t%.1f\t%.1f\t%d\t%.0f\t%.2f\t%.1f\t%.1f\t%.0f\t%.0f\t%.0f\t%s\t\n", c.What, c.Version, c.Compression, c.Pods, c.FirstSync, c.FirstCPU, c.FirstSet, c.PointsASet,
				c.Interval, c.IntervalCPU, c.CPUPercent, c.ChangesCPU, mib(c.SyncPeak), mib(c.QuietRSS), mib(c.Peak), c.Stopped)
		}
		t.Flush()
	}
	if len(r.Micro) > 0 {
		fmt.Fprintf(out, "\nmicro-benchmarks\n")
		fmt.Fprintln(t, "package\tname\tns/op\tMB/s\tB/op\tallocs/op\t")
		for _, m := range r.Micro {
			fmt.Fprintf(t, "%s\t%s\t%.4g\t%.4g\t%.0f\t%.0f\t\n", m.Package, strings.TrimPrefix(m.Name, "Benchmark"),
				m.Values["ns/op"], m.Values["MB/s"], m.Values["B/op"], m.Values["allocs/op"])
		}
		t.Flush()
	}
}

// lossless tells whether every line arrived.
func (r *result) lossless() bool {
	for _, d := range r.Rounds {
		if d.Lost != 0 {
			return false
		}
	}
	for _, s := range r.Follow {
		if s.Lost != 0 {
			return false
		}
	}
	for _, o := range r.Outage {
		if o.Lost != 0 {
			return false
		}
	}
	for _, g := range r.Gateway {
		if g.Lost != 0 {
			return false
		}
	}
	for _, o := range r.Overload {
		if o.Lost != 0 || o.OOMKills != 0 || o.Hasty != 0 {
			return false
		}
	}
	for _, l := range r.Limit {
		if l.Lost != 0 || l.OOMKills != 0 {
			return false
		}
	}
	return true
}

func printFigures(out io.Writer, figures []figure) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tmedian\tleast\tmost\tunit\twanted at most\t\tmethod")
	for _, f := range figures {
		wanted, met := "", ""
		if f.AtMost != nil {
			if wanted, met = fmt.Sprintf("%.3g", *f.AtMost), "yes"; f.Median > *f.AtMost {
				met = "NO"
			}
		}
		fmt.Fprintf(w, "%s\t%.3g\t%.3g\t%.3g\t%s\t%s\t%s\t%s\n", f.What, f.Median, slices.Min(f.Rounds), slices.Max(f.Rounds), f.Unit, wanted, met, f.Method)
	}
	w.Flush()
}
