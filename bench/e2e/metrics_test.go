package e2e

import (
	"encoding/csv"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// host is what /proc says at one moment.
type host struct {
	at       time.Time
	counters map[string]float64 // by metric and attributes, as key writes them
	memTotal float64            // bytes
	cpus     float64
	btime    int64 // s
	uptime   float64
	disk     bool // there is a disk that the agent reports
	swap     bool
	speed    bool // an interface tells its speed
}

// key names one series: "metric value value", the values of its attributes
// sorted by their keys.
func key(metric string, a attributes) string {
	a = slices.Clone(a)
	slices.SortFunc(a, func(x, y struct {
		Key   string `json:"key"`
		Value value  `json:"value"`
	}) int {
		return strings.Compare(x.Key, y.Key)
	})
	for _, kv := range a {
		if kv.Value.String != nil {
			metric += " " + *kv.Value.String
		}
	}
	return metric
}

func readHost(t *testing.T) host {
	t.Helper()
	h := host{at: time.Now(), counters: map[string]float64{}}
	num := func(s string) float64 {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	eachLine := func(path string, f func([]string)) {
		for line := range strings.Lines(readFile(t, path)) {
			if fields := strings.Fields(line); len(fields) > 0 {
				f(fields)
			}
		}
	}
	eachLine("/proc/stat", func(f []string) {
		switch {
		case f[0] == "cpu":
			for i, mode := range []string{"user", "nice", "system", "idle", "iowait", "interrupt", "softirq", "steal"} {
				h.counters["system.cpu.time "+mode] = num(f[i+1]) / 100 // USER_HZ
			}
		case strings.HasPrefix(f[0], "cpu"):
			h.cpus++
		case f[0] == "ctxt":
			h.counters["system.cpu.context_switch.count"] = num(f[1])
		case f[0] == "intr":
			h.counters["system.cpu.interrupt.count"] = num(f[1])
		case f[0] == "processes":
			h.counters["system.process.created"] = num(f[1])
		case f[0] == "btime":
			h.btime = int64(num(f[1]))
		}
	})
	eachLine("/proc/meminfo", func(f []string) {
		if f[0] == "MemTotal:" {
			h.memTotal = num(f[1]) * 1024
		}
	})
	vmstat := map[string]float64{}
	eachLine("/proc/vmstat", func(f []string) { vmstat[f[0]] = num(f[1]) })
	h.counters["system.paging.faults major"] = vmstat["pgmajfault"]
	h.counters["system.paging.faults minor"] = vmstat["pgfault"] - vmstat["pgmajfault"]
	h.counters["system.paging.operations in major"] = vmstat["pswpin"]
	h.counters["system.paging.operations out major"] = vmstat["pswpout"]
	h.counters["system.paging.io in"] = vmstat["pgpgin"] * 1024
	h.counters["system.paging.io out"] = vmstat["pgpgout"] * 1024
	eachLine("/proc/net/dev", func(f []string) {
		name, ok := strings.CutSuffix(f[0], ":")
		if !ok || len(f) < 17 {
			return
		}
		for i, metric := range []string{"io", "packet.count", "errors", "packet.dropped"} {
			h.counters["system.network."+metric+" "+name+" receive"] = num(f[1+i])
			h.counters["system.network."+metric+" "+name+" transmit"] = num(f[9+i])
		}
	})
	eachLine("/proc/diskstats", func(f []string) {
		name := f[2]
		h.disk = h.disk || strings.HasPrefix(name, "vd") || strings.HasPrefix(name, "sd") || strings.HasPrefix(name, "nvme")
		h.counters["system.disk.operations read "+name] = num(f[3])
		h.counters["system.disk.operations write "+name] = num(f[7])
		h.counters["system.disk.merged read "+name] = num(f[4])
		h.counters["system.disk.merged write "+name] = num(f[8])
		h.counters["system.disk.io read "+name] = num(f[5]) * 512
		h.counters["system.disk.io write "+name] = num(f[9]) * 512
	})
	h.uptime = num(strings.Fields(readFile(t, "/proc/uptime"))[0])
	h.swap = strings.Count(readFile(t, "/proc/swaps"), "\n") > 1
	for _, file := range glob(t, "/sys/class/net", "*", "speed") {
		if text, err := os.ReadFile(file); err == nil && num(strings.TrimSpace(string(text))) > 0 {
			h.speed = true
		}
	}
	return h
}

// scrapes returns the metrics by time of scrape, without those that the agent
// tells about itself.
func scrapes(requests []metricsRequest) map[string][]metric {
	byTime := map[string][]metric{}
	for _, request := range requests {
		for _, rm := range request.ResourceMetrics {
			if rm.Resource.Attributes.text("service.name") == "stint-agent" {
				continue
			}
			for _, sm := range rm.ScopeMetrics {
				for _, m := range sm.Metrics {
					for _, p := range m.points().DataPoints {
						one := m
						data := *m.points()
						data.DataPoints = []point{p}
						if m.Gauge != nil {
							one.Gauge = &data
						} else {
							one.Sum = &data
						}
						byTime[p.Time] = append(byTime[p.Time], one)
					}
				}
			}
		}
	}
	return byTime
}

// points are the data of a gauge or sum; anything else has none.
func (m metric) points() *points {
	switch {
	case m.Gauge != nil:
		return m.Gauge
	case m.Sum != nil:
		return m.Sum
	default:
		return &points{}
	}
}

// checkMetrics compares host metrics with the list of all metrics, and their
// values with what /proc said before and after.
func checkMetrics(t *testing.T, requests []metricsRequest, before, after host) {
	t.Helper()
	rows := readRows(t)
	bracketed, limits := map[string]bool{}, 0
	seen := map[string]bool{}
	last := map[string]float64{}
	times := scrapes(requests)
	for _, at := range slices.Sorted(maps.Keys(times)) {
		inScrape := map[string]bool{}
		for _, m := range times[at] {
			seen[m.Name] = true
			p := m.points().DataPoints[0]
			series := key(m.Name, p.Attributes)
			if inScrape[series] {
				t.Errorf("%s: twice at %s", series, at)
			}
			inScrape[series] = true
			if fault := rows[m.Name].check(m, p); fault != "" {
				t.Errorf("%s: %s", series, fault)
				continue
			}
			if ns := number(t, p.Time); ns < before.at.UnixNano() || ns > after.at.UnixNano() {
				t.Errorf("%s: time %d is not within the test", series, ns)
			}
			v := p.value(t)
			if m.Sum != nil && m.Sum.Monotonic {
				if d := number(t, p.Start)/1e9 - before.btime; d < -2 || d > 2 {
					t.Errorf("%s: start time %s, want that of the boot, %d s", series, p.Start, before.btime)
				}
				if v < last[series] {
					t.Errorf("%s: %v after %v", series, v, last[series])
				}
				last[series] = v
			}
			if low, ok := before.counters[series]; ok {
				bracketed[m.Name] = true
				slack := 0.0
				if m.Name == "system.cpu.time" {
					slack = 0.02 // idle and iowait are estimates that may go back
				}
				if high := after.counters[series]; v < low-slack || v > high+slack {
					t.Errorf("%s: %v, but /proc had %v before and %v after", series, v, low, high)
				}
			}
			switch m.Name {
			case "system.memory.limit":
				equal(t, series, v, before.memTotal)
			case "system.cpu.logical.count":
				equal(t, series, v, before.cpus)
			case "system.uptime":
				if v < before.uptime || v > after.uptime {
					t.Errorf("system.uptime: %v, but /proc/uptime had %v before and %v after", v, before.uptime, after.uptime)
				}
			case "system.filesystem.limit":
				var fs syscall.Statfs_t
				mount := p.Attributes.text("system.filesystem.mountpoint")
				if err := syscall.Statfs(mount, &fs); err != nil {
					t.Errorf("%s: statfs: %v", series, err)
					continue
				}
				limits++
				equal(t, series, v, float64(fs.Blocks)*float64(fs.Frsize))
			}
		}
	}

	required := []string{"system.uptime"}
	for name, row := range rows {
		if row.on && slices.Contains([]string{"cpu", "load", "memory", "disk", "filesystem", "network", "paging", "processes"}, row.scraper) {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	for _, name := range required {
		absent := name == "system.paging.usage" && !before.swap ||
			name == "system.network.interface.speed" && !before.speed ||
			strings.HasPrefix(name, "system.disk.") && !before.disk
		if !seen[name] && !absent {
			t.Errorf("%s did not arrive", name)
		}
	}
	for _, name := range []string{
		"system.cpu.time", "system.cpu.context_switch.count", "system.cpu.interrupt.count", "system.process.created", "system.paging.faults",
		"system.paging.io", "system.network.io", "system.network.packet.count",
	} {
		if !bracketed[name] {
			t.Errorf("%s: no series of it could be compared with /proc", name)
		}
	}
	for _, series := range []string{"system.cpu.time user", "system.network.io lo receive", "system.network.io lo transmit"} {
		if _, ok := last[series]; !ok {
			t.Errorf("%s did not arrive", series)
		}
	}
	if limits == 0 {
		t.Error("no system.filesystem.limit could be compared with statfs")
	}
	if !t.Failed() {
		t.Logf("%d metrics in %d scrapes; %d of them compared with counters of /proc", len(seen), len(times), len(bracketed))
	}
}

func equal(t *testing.T, series string, got, want float64) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", series, got, want)
	}
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (p point) value(t *testing.T) float64 {
	t.Helper()
	if p.Double != nil {
		return *p.Double
	}
	return float64(number(t, *p.Int))
}

// row is a line of the list of metrics.
type row struct {
	scraper, instrument, unit, valueType string
	attributes                           []string // keys
	on, auto                             bool
}

// readRows reads testdata/metrics.csv, a copy of the project's reference.
func readRows(t *testing.T) map[string]row {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(readFile(t, "testdata/metrics.csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(lines[0][:8], ","); got != "scraper,metric,instrument,unit,value_type,attributes,source,default" {
		t.Fatalf("columns of metrics.csv: %s", got)
	}
	rows := map[string]row{}
	for _, f := range lines[1:] {
		r := row{scraper: f[0], instrument: f[2], unit: f[3], valueType: f[4], on: f[7] == "on", auto: f[7] == "auto"}
		for a := range strings.SplitSeq(f[5], ";") {
			if fields := strings.FieldsFunc(a, func(c rune) bool { return c == ' ' || c == '=' }); len(fields) > 0 {
				r.attributes = append(r.attributes, fields[0])
			}
		}
		rows[f[1]] = r
	}
	return rows
}

// check tells how a point differs from what the list says; "" = not at all.
func (r row) check(m metric, p point) string {
	if r.unit == "" {
		return "is not in metrics.csv"
	}
	if m.Unit != r.unit {
		return fmt.Sprintf("unit %q, want %q", m.Unit, r.unit)
	}
	instrument := "gauge"
	if m.Sum != nil {
		instrument = "sum_updown"
		if m.Sum.Monotonic {
			instrument = "sum_monotonic"
		}
		if m.Sum.Temporality != 2 {
			return "sum is not cumulative"
		}
	}
	if instrument != r.instrument {
		return fmt.Sprintf("is a %s, want %s", instrument, r.instrument)
	}
	if (p.Int != nil) == (p.Double != nil) || (p.Int != nil) != (r.valueType == "int") {
		return "value is not of type " + r.valueType
	}
	for _, kv := range p.Attributes {
		if !slices.Contains(r.attributes, kv.Key) {
			return fmt.Sprintf("attribute %s is not one of %v", kv.Key, r.attributes)
		}
	}
	return ""
}
