package e2e

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"maps"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// settled is how long after a tick our figures are surely read: what the agent has not read
	// half an interval after it comes later, and a tick that comes later is not compared.
	settled = 900 * time.Millisecond
	// hostmetricsRead is how long the collector may take to read what it gives one time.
	hostmetricsRead = 200 * time.Millisecond
	// peerTicks are the scrapes of ours that are compared.
	peerTicks = 8
)

// reading is a value that was read at some time between begin and end.
type reading struct {
	begin, end time.Time
	value      float64
}

// labelled is a series: all readings under one set of labels.
type labelled struct {
	name     string
	labels   map[string]string
	readings []reading
	paired   string // what became of it, by testdata/peers.csv; "" = no line has it
}

// store holds series by their names and labels.
type store map[string]*labelled

func (s store) add(name string, labels map[string]string, r reading) {
	id := name
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		id += " " + k + "=" + labels[k]
	}
	l := s[id]
	if l == nil {
		l = &labelled{name: name, labels: labels}
		s[id] = l
	}
	l.readings = append(l.readings, r)
}

// named lists the series of a metric in a constant order.
func (s store) named(name string) (all []*labelled) {
	for _, id := range slices.Sorted(maps.Keys(s)) {
		if l := s[id]; l.name == name || strings.ContainsRune(name, '*') && match(name, l.name) {
			all = append(all, l)
		}
	}
	return all
}

func match(glob, s string) bool {
	ok, _ := path.Match(glob, s)
	return ok
}

// pairing is a line of testdata/peers.csv: which series of a peer's is which of ours.
type pairing struct {
	line             int
	metric           string  // of the peer's; a-b: the difference of two, where a may be a number
	labels           string  // k=v; k={x}: x is what the label has; k=cpu{x}
	ours, attributes string  // a+b with x=1 + y=2: the sum of two
	factor           float64 // theirs times this is ours
	kind             string  // counter, gauge, gauge_or_absent (where theirs is 0 or less); off, out: has no pair
	tolerance        string  // of a gauge 0.5 or 2 %, of out the reason
}

func readPairings(t *testing.T, peer string) (all []pairing) {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(readFile(t, "testdata/peers.csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(lines[0], ","); got != "peer,metric,labels,ours,attributes,factor,kind,tolerance" {
		t.Fatalf("columns of peers.csv: %s", got)
	}
	for i, f := range lines[1:] {
		p := pairing{line: i + 2, metric: f[1], labels: f[2], ours: f[3], attributes: f[4], kind: f[6], tolerance: f[7]}
		if f[5] != "" {
			if p.factor, err = strconv.ParseFloat(f[5], 64); err != nil {
				t.Fatalf("peers.csv:%d: factor: %v", p.line, err)
			}
		}
		if f[0] == peer {
			all = append(all, p)
		}
	}
	return all
}

// words splits "k=v; k=v".
func words(text string) map[string]string {
	m := map[string]string{}
	for w := range strings.SplitSeq(text, ";") {
		if k, v, ok := strings.Cut(strings.TrimSpace(w), "="); ok {
			m[k] = v
		}
	}
	return m
}

// bind says whether labels are those of the line, and what the names in braces stand for.
func (p pairing) bind(labels map[string]string) (map[string]string, bool) {
	bound := map[string]string{}
	for k, pattern := range words(p.labels) {
		before, name, open := strings.Cut(pattern, "{")
		name, after, shut := strings.Cut(name, "}")
		v := labels[k]
		if !open || !shut {
			if v != pattern {
				return nil, false
			}
			continue
		}
		if len(v) <= len(before)+len(after) || !strings.HasPrefix(v, before) || !strings.HasSuffix(v, after) {
			return nil, false
		}
		bound[name] = v[len(before) : len(v)-len(after)]
	}
	return bound, true
}

// mine finds our series, or the sum of two; several: which it is is not clear.
func (p pairing) mine(ours store, bound map[string]string) (all []*labelled) {
	attributes := p.attributes
	for name, value := range bound {
		attributes = strings.ReplaceAll(attributes, "{"+name+"}", value)
	}
	find := func(name, attributes string) (found []*labelled) {
		for _, o := range ours.named(name) {
			if has(o.labels, words(attributes)) {
				found = append(found, o)
			}
		}
		return found
	}
	a, b, sum := strings.Cut(p.ours, "+")
	ofA, ofB, _ := strings.Cut(attributes, " + ")
	all = find(a, ofA)
	if !sum || len(all) != 1 {
		return all
	}
	other := find(b, ofB)
	if len(other) != 1 {
		return other
	}
	added := labelled{name: p.ours}
	for _, r := range all[0].readings {
		for _, q := range other[0].readings {
			if q.begin.Equal(r.begin) {
				added.readings = append(added.readings, reading{r.begin, r.end, r.value + q.value})
			}
		}
	}
	return []*labelled{&added}
}

// theirs computes the readings that a line tells of, by the series that leads; marks what it used.
func (p pairing) theirs(s store) (all []*labelled) {
	a, b, difference := strings.Cut(p.metric, "-")
	constant, err := strconv.ParseFloat(a, 64)
	lead, isConstant := a, err == nil && difference
	if isConstant {
		lead = b
	}
	how := p.kind
	switch p.kind {
	case "off":
		how = "off: " + p.ours
	case "out":
		how = "out of scope: " + p.tolerance
	}
	for _, l := range s.named(lead) {
		if _, ok := p.bind(l.labels); !ok {
			continue
		}
		if p.kind != "off" && p.kind != "out" || l.paired == "" {
			l.paired = how
		}
		computed := *l
		switch {
		case isConstant:
			computed.readings = slices.Clone(l.readings)
			for i := range computed.readings {
				computed.readings[i].value = constant - computed.readings[i].value
			}
		case difference:
			computed.readings = nil
			for _, m := range s.named(b) {
				if !maps.Equal(m.labels, l.labels) {
					continue
				}
				m.paired = how
				for _, r := range l.readings {
					for _, q := range m.readings {
						if q.begin.Equal(r.begin) {
							computed.readings = append(computed.readings, reading{r.begin, r.end, r.value - q.value})
						}
					}
				}
			}
		}
		all = append(all, &computed)
	}
	return all
}

// comparison is what became of a peer's series.
type comparison struct{ pairs, moved, absent, brief int }

// comparePeer pairs every series of a peer's with ours, and fails for each that has none and for
// each that is not within the tolerance.
func comparePeer(t *testing.T, peer string, theirs, ours store) {
	t.Helper()
	rows, longest := readRows(t), 0
	for _, l := range theirs {
		longest = max(longest, len(l.readings))
	}
	var sum comparison
	for _, p := range readPairings(t, peer) {
		where := fmt.Sprintf("peers.csv:%d: %s", p.line, p.metric)
		if p.kind != "out" {
			for name := range strings.SplitSeq(p.ours, "+") {
				if rows[name].unit == "" {
					t.Errorf("%s: %s is not in metrics.csv", where, name)
				}
			}
			if p.kind == "off" && (rows[p.ours].on || rows[p.ours].auto) {
				t.Errorf("%s: %s is said to be off, but metrics.csv has it on or auto", where, p.ours)
			}
		}
		for _, l := range p.theirs(theirs) {
			if p.kind == "out" || p.kind == "off" {
				continue
			}
			bound, _ := p.bind(l.labels)
			want, mine := p.attributes, p.mine(ours, bound)
			switch {
			case len(l.readings)*10 < longest*9: // a process or mount that came or went meanwhile
				sum.brief++
			case len(mine) > 1:
				t.Errorf("%s %v: %d series of ours are %s %v", where, l.labels, len(mine), p.ours, want)
			case len(mine) == 0 && (rows[p.ours].auto || p.kind == "gauge_or_absent" && highest(l.readings) <= 0):
				sum.absent++
				t.Logf("%s %v: %s %v is absent here, theirs is %v at most", where, l.labels, p.ours, want, highest(l.readings))
			case len(mine) == 0:
				t.Errorf("%s %v: there is no %s %v", where, l.labels, p.ours, want)
			default:
				if fault, moved := p.check(l.readings, mine[0].readings); fault != "" {
					t.Errorf("%s %v: %s %v: %s", where, l.labels, p.ours, want, fault)
				} else {
					sum.pairs++
					if moved {
						sum.moved++
					}
				}
			}
		}
	}
	left := map[string]int{}
	for _, l := range theirs {
		switch {
		case l.paired == "":
			t.Errorf("%s: %s %v: no line of peers.csv has it", peer, l.name, l.labels)
		case strings.HasPrefix(l.paired, "off: ") || strings.HasPrefix(l.paired, "out of scope: "):
			left[l.name+" ("+l.paired+")"]++
		}
	}
	for _, what := range slices.Sorted(maps.Keys(left)) {
		t.Logf("%s: no pair: %d series of %s", peer, left[what], what)
	}
	if sum.pairs == 0 || sum.moved == 0 {
		t.Errorf("%s: %d pairs, %d of them moved; is it there?", peer, sum.pairs, sum.moved)
	}
	t.Logf("%s: %d series, %d pairs within tolerance (%d of them moved), %d absent here, %d brief", peer, len(theirs), sum.pairs, sum.moved, sum.absent, sum.brief)
}

func has(labels, want map[string]string) bool {
	for k, v := range want {
		if labels[k] != v {
			return false
		}
	}
	return true
}

func highest(all []reading) float64 {
	h := all[0].value
	for _, r := range all {
		h = max(h, r.value)
	}
	return h
}

// check compares each of our values with what the peer read before, meanwhile and after. A counter
// must always lie between; a gauge, which may jump between two readings, at least every other time
// between them or within the tolerance. moved: theirs was not constant.
func (p pairing) check(theirs, ours []reading) (fault string, moved bool) {
	ticks, good := 0, 0
	for _, mine := range ours {
		first, last := -1, -1
		for i, r := range theirs {
			if r.end.Before(mine.begin) {
				first = i
			}
			if last < 0 && r.begin.After(mine.begin.Add(settled)) {
				last = i
			}
		}
		if first < 0 || last < 0 {
			continue
		}
		low, high := theirs[first].value, theirs[first].value
		for _, r := range theirs[first : last+1] {
			low, high = min(low, r.value), max(high, r.value)
		}
		moved = moved || low != high
		low, high = min(low*p.factor, high*p.factor), max(low*p.factor, high*p.factor)
		slack := 1e-9 * max(high, -low)
		if percent, ok := strings.CutSuffix(p.tolerance, "%"); ok {
			n, _ := strconv.ParseFloat(percent, 64)
			slack = n / 100 * max(high, -low)
		} else if p.tolerance != "" {
			slack, _ = strconv.ParseFloat(p.tolerance, 64)
		}
		ticks++
		if mine.value >= low-slack && mine.value <= high+slack {
			good++
		} else {
			fault = fmt.Sprintf("%v, theirs is %v to %v, tolerance %q", mine.value, low, high, p.tolerance)
		}
	}
	switch {
	case ticks < peerTicks/2:
		return fmt.Sprintf("only %d scrapes can be compared", ticks), moved
	case p.kind == "counter" && good < ticks || good*2 < ticks:
		return fmt.Sprintf("%d of %d times not within: %s", ticks-good, ticks, fault), moved
	}
	return "", moved
}

// TestPeers runs the agent beside node_exporter and the collector's hostmetrics receiver.
func TestPeers(t *testing.T) {
	if testing.Short() {
		t.Skip("needs bin/stint-agent, bin/node_exporter, bench/otelcol/otelcol and bench/hostmetrics/hostmetrics: make test-peers")
	}
	dir := t.TempDir()
	c := startCollector(t, dir)
	exporter := freeAddress(t)
	ne := startProcess(t, "../../bin/node_exporter", "--web.listen-address="+exporter)
	hm := startHostmetrics(t, dir, c)
	config := filepath.Join(dir, "agent.yaml")
	// Everything is on that is off by default: what a peer has shall find its pair.
	writeFile(t, config, fmt.Sprintf(`
state_dir: %s
node_name: us
admin: {listen: "%s"}
health: {listen: "%s"}
tail: {containers: {root: %s}, files: []}
batch: {timeout: 200ms}
exporters: {otlp: {endpoint: "%s", compression: none, tls: {insecure: true}}}
scrape:
  interval: 1s
  cgroup: {enabled: false}
  kubelet: {enabled: false}
  host:
    cpu: {per_cpu: true, guest: true, softirq: true, topology: true, sched: true, frequency: true}
    memory: {detail: true}
    network: {exclude: []}
    netstat: {detail: true}
    softnet: {per_cpu: true, detail: true}
    clock: {detail: true}
    nfs: {detail: true}
    hw: {detail: true}
    system: {detail: true}
    process: {enabled: true, min_age: 0s, top: 1000, detail: true}
`, filepath.Join(dir, "state"), freeAddress(t), freeAddress(t), dir, c.grpc))
	agent := startProcess(t, *agentBinary, "--config", config)

	theirs := store{}
	begin := time.Time{}
	waitFor(t, time.Minute, fmt.Sprintf("%d scrapes of ours between readings of theirs", peerTicks+1), func() bool {
		for _, p := range []*process{agent, ne, hm} {
			p.mustRun(t)
		}
		if !readExporter(t, exporter, theirs) {
			return false
		}
		ticks := 0
		for at := range scrapes(ofScope(readRequests[metricsRequest](t, c.metrics), isOurs)) {
			when := time.Unix(0, number(t, at))
			if begin.IsZero() {
				begin = time.Now()
			}
			if when.After(begin) && time.Since(when) > 2*time.Second {
				ticks++
			}
		}
		return ticks > peerTicks
	})
	agent.stop(t)
	hm.stop(t)
	c.process.stop(t)
	requests := readRequests[metricsRequest](t, c.metrics)
	ours := storeOf(t, ofScope(requests, isOurs), 0)
	t.Run("node_exporter", func(t *testing.T) { comparePeer(t, "node_exporter", theirs, ours) })
	t.Run("hostmetrics", func(t *testing.T) {
		comparePeer(t, "hostmetrics", storeOf(t, ofScope(requests, isHostmetrics), hostmetricsRead), ours)
	})
}

// readExporter reads all that node_exporter tells; false: it does not answer yet.
func readExporter(t *testing.T, address string, into store) bool {
	t.Helper()
	begin := time.Now()
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var lines []string
	in := bufio.NewScanner(resp.Body)
	for in.Scan() {
		lines = append(lines, in.Text())
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	end := time.Now()
	for _, line := range lines {
		if strings.HasPrefix(line, "#") {
			continue
		}
		cut := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[cut+1:], 64)
		if err != nil {
			t.Fatalf("node_exporter: %q: %v", line, err)
		}
		name, rest, _ := strings.Cut(line[:cut], "{")
		into.add(name, textLabels(t, strings.TrimSuffix(rest, "}")), reading{begin, end, value})
	}
	return true
}

// textLabels reads k="v",k="v" of the Prometheus text format.
func textLabels(t *testing.T, text string) map[string]string {
	t.Helper()
	labels := map[string]string{}
	for text != "" {
		key, rest, ok := strings.Cut(text, "=")
		quoted, err := strconv.QuotedPrefix(rest)
		if !ok || err != nil {
			t.Fatalf("node_exporter: labels %q", text)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("node_exporter: label %q: %v", quoted, err)
		}
		labels[key] = value
		text = strings.TrimPrefix(rest[len(quoted):], ",")
	}
	return labels
}
