package cgroup

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
	"stint/scrape/dedup"
)

// tick is the time of the first scrape of a test, ns since 1970.
const tick = uint64(1800000000_000000000)

// machine is a directory that looks like the root of one, with a source over it.
type machine struct {
	*Cgroups
	t    testing.TB
	root string
	at   uint64 // time of the next scrape
	log  bytes.Buffer
}

// layouts are the machines by what is mounted where. %s is nothing, or a directory that the
// hierarchies are mounted from.
var layouts = map[string]struct {
	cgroup, mountinfo, controllers string
	v1                             []string // with what its mounts are called
	v2                             string   // where it is mounted
}{
	"v2": {
		cgroup:      "0::/init.scope\n",
		mountinfo:   "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
		controllers: "cpuset cpu io memory hugetlb pids rdma misc\n",
		v2:          "/sys/fs/cgroup",
	},
	"v1": {
		cgroup: "12:pids:/init.scope\n11:hugetlb:/\n9:blkio:/\n8:memory:/\n4:cpu,cpuacct:/\n3:cpuset:/\n1:name=systemd:/init.scope\n",
		mountinfo: mountsV1("cpu,cpuacct", "memory", "blkio", "pids", "hugetlb", "cpuset") +
			"40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n",
		v1: []string{"cpu,cpuacct", "memory", "blkio", "pids", "hugetlb"},
	},
	// As the machine that stint is made on: v1 has the controllers, v2 pressure and huge pages.
	"hybrid": {
		cgroup: "9:name=systemd:/\n8:pids:/\n7:blkio:/\n4:memory:/\n3:cpuset:/\n2:cpuacct:/\n1:cpu:/\n0::/\n",
		mountinfo: mountsV1("cpu", "cpuacct", "cpuset", "memory", "blkio", "pids") +
			"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
		controllers: "hugetlb\n",
		v1:          []string{"cpu", "cpuacct", "memory", "blkio", "pids"},
		v2:          "/sys/fs/cgroup/unified",
	},
}

func mountsV1(names ...string) string {
	var b strings.Builder
	for i, name := range names {
		fmt.Fprintf(&b, "%d 31 0:%d / /sys/fs/cgroup/%s rw,nosuid,nodev,noexec,relatime shared:%d - cgroup cgroup rw,%s\n", 32+i, 29+i, name, i, name)
	}
	return b.String()
}

func newMachine(t testing.TB, layout string, cfg Config, pods Pods) *machine {
	t.Helper()
	m := &machine{t: t, root: t.TempDir(), at: tick}
	l := layouts[layout]
	m.write("/proc/1/cgroup", l.cgroup)
	m.write("/proc/1/mountinfo", "23 1 8:1 / / rw - ext4 /dev/sda1 rw\n"+l.mountinfo)
	m.namespace(1)
	m.write("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 1000 0 -2\n")
	for _, size := range []string{"2048", "1048576"} {
		m.write("/sys/kernel/mm/hugepages/hugepages-"+size+"kB/nr_hugepages", "0\n")
	}
	for number, name := range map[string]string{"8:0": "sda", "259:1": "nvme0n1"} {
		dir := filepath.Join(m.root, "sys/dev/block")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../../devices/pci0000:00/block/"+name, filepath.Join(dir, number)); err != nil {
			t.Fatal(err)
		}
	}
	if l.v2 != "" {
		m.write(l.v2+"/cgroup.controllers", l.controllers)
	}
	for _, name := range l.v1 {
		m.write("/sys/fs/cgroup/"+name+"/tasks", "")
	}
	m.Cgroups = m.source(cfg, pods)
	return m
}

func (m *machine) source(cfg Config, pods Pods) *Cgroups {
	m.t.Helper()
	log := slog.New(slog.NewTextHandler(&m.log, nil))
	s, err := New(cfg, m.root, []otlp.KeyValue{otlp.Attr("k8s.node.name", "node-1")}, "1.2.3", pods, dedup.New(dedup.Defaults(), nil), 10*time.Second, log, prometheus.NewRegistry())
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { s.Close() })
	return s
}

func (m *machine) write(path, content string) {
	m.t.Helper()
	path = m.root + path
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// dirs are the directories of a cgroup, by the controllers whose files they hold; v2 of v2's.
func (m *machine) dirs(layout, path string) map[string]string {
	l := layouts[layout]
	all := map[string]string{}
	for _, mount := range l.v1 {
		for c := range strings.SplitSeq(mount, ",") {
			all[c] = "/sys/fs/cgroup/" + mount + path
		}
	}
	if l.v2 != "" {
		all["v2"] = l.v2 + path
	}
	return all
}

// cgroup makes a cgroup with the files of testdata, in every hierarchy.
func (m *machine) cgroup(layout, path string) {
	m.t.Helper()
	for c, dir := range m.dirs(layout, path) {
		from := "testdata/v1/" + c
		if c == "v2" {
			from = "testdata/v2"
		}
		entries, err := os.ReadDir(from)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, e := range entries {
			hybrid := c == "v2" && len(layouts[layout].v1) > 0
			if hybrid && !strings.HasSuffix(e.Name(), ".pressure") && !strings.HasPrefix(e.Name(), "hugetlb.") && e.Name() != "cpu.stat" {
				continue
			}
			b, err := os.ReadFile(from + "/" + e.Name())
			if err != nil {
				m.t.Fatal(err)
			}
			m.write(dir+"/"+e.Name(), string(b))
		}
	}
}

// processes puts processes into a cgroup, with the files of testdata/proc: two files and a socket
// are open. Their network namespace is the first one's.
func (m *machine) processes(layout, path string, pids ...int) {
	m.t.Helper()
	list := ""
	for _, pid := range pids {
		list += fmt.Sprintln(pid)
		proc := fmt.Sprintf("/proc/%d", pid)
		m.write(proc+"/cgroup", "0::"+path+"\n")
		if pid == pids[0] {
			m.namespace(pid)
		} else {
			m.share(pids[0], pid)
		}
		for _, name := range []string{"limits", "schedstat"} {
			b, err := os.ReadFile("testdata/proc/" + name)
			if err != nil {
				m.t.Fatal(err)
			}
			m.write(proc+"/"+name, string(b))
		}
		if err := os.MkdirAll(m.root+proc+"/fd", 0o755); err != nil {
			m.t.Fatal(err)
		}
		for i, target := range []string{"/dev/null", "/etc/hosts", "socket:[4242]"} {
			if err := os.Symlink(target, fmt.Sprintf("%s%s/fd/%d", m.root, proc, i)); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	for _, dir := range m.dirs(layout, path) {
		m.write(dir+"/cgroup.procs", list)
	}
}

// namespace gives a process a network namespace of its own: files with other inodes.
func (m *machine) namespace(pid int) {
	m.t.Helper()
	for _, name := range []string{"dev", "sockstat", "sockstat6", "snmp"} {
		b, err := os.ReadFile("testdata/proc/net/" + name)
		if err != nil {
			m.t.Fatal(err)
		}
		file := fmt.Sprintf("/proc/%d/net/%s", pid, name)
		m.write(file+".new", string(b)) // beside the old one, whose inode would be used again
		if err := os.Rename(m.root+file+".new", m.root+file); err != nil {
			m.t.Fatal(err)
		}
	}
}

// share puts process pid into the network namespace of another one: files with the same inodes.
func (m *machine) share(of, pid int) {
	m.t.Helper()
	dir := fmt.Sprintf("%s/proc/%d/net", m.root, pid)
	if err := os.RemoveAll(dir); err != nil {
		m.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		m.t.Fatal(err)
	}
	entries, err := os.ReadDir(fmt.Sprintf("%s/proc/%d/net", m.root, of))
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Link(fmt.Sprintf("%s/proc/%d/net/%s", m.root, of, e.Name()), dir+"/"+e.Name()); err != nil {
			m.t.Fatal(err)
		}
	}
}

// remove removes a cgroup and what is below.
func (m *machine) remove(layout, path string) {
	m.t.Helper()
	for _, dir := range m.dirs(layout, path) {
		if err := os.RemoveAll(m.root + dir); err != nil {
			m.t.Fatal(err)
		}
	}
}

// found is what a scrape gave, decoded: a text of each resource, and what stands under it.
type found struct {
	resources []string
	metrics   map[string][]*metricspb.Metric
	err       error
}

// scrape scrapes, ten seconds after the last time.
func (m *machine) scrape() *found {
	m.t.Helper()
	f := scrapeOnce(m.t, m.Cgroups, m.at)
	m.at += uint64(10 * time.Second)
	return f
}

func scrapeOnce(t testing.TB, s *Cgroups, at uint64) *found {
	t.Helper()
	f := &found{metrics: map[string][]*metricspb.Metric{}}
	f.err = s.Scrape(t.Context(), 0, time.Unix(0, int64(at)), func(g *otlp.Group, data []byte, points int) {
		var md metricspb.MetricsData
		if err := proto.Unmarshal(append(g.AppendFrame(nil, len(data)), data...), &md); err != nil {
			t.Fatal(err)
		}
		sm := md.ResourceMetrics[0].ScopeMetrics[0]
		n := 0
		for _, x := range sm.Metrics {
			n += len(pointsOf(x))
		}
		if n != points {
			t.Errorf("%d points handed over as %d", n, points)
		}
		r := attrText(md.ResourceMetrics[0].Resource.Attributes)
		if f.metrics[r] == nil {
			f.resources = append(f.resources, r)
		} else if !s.cfg.theirs() { // of which some are held back in between
			t.Errorf("resource %s twice", r)
		}
		f.metrics[r] = append(f.metrics[r], sm.Metrics...)
	})
	slices.Sort(f.resources)
	return f
}

func pointsOf(m *metricspb.Metric) []*metricspb.NumberDataPoint {
	if s := m.GetSum(); s != nil {
		return s.DataPoints
	}
	return m.GetGauge().GetDataPoints()
}

func attrText(kvs []*commonpb.KeyValue) string {
	var words []string
	for _, kv := range kvs {
		v := kv.Value.GetStringValue()
		if _, ok := kv.Value.Value.(*commonpb.AnyValue_IntValue); ok {
			v = fmt.Sprint(kv.Value.GetIntValue())
		}
		words = append(words, kv.Key+"="+v)
	}
	return strings.Join(words, " ")
}

// point finds a point under the resource whose text has all of these words; nil if there is none.
func (f *found) point(resource, metric, attrs string) *metricspb.NumberDataPoint {
	for _, r := range f.resources {
		if !strings.Contains(r, resource) {
			continue
		}
		for _, m := range f.metrics[r] {
			for _, p := range pointsOf(m) {
				if m.Name == metric && attrText(p.Attributes) == attrs {
					return p
				}
			}
		}
	}
	return nil
}

func (f *found) value(resource, metric, attrs string) string {
	p := f.point(resource, metric, attrs)
	if p == nil {
		return "none"
	}
	return valueText(p)
}

func valueText(p *metricspb.NumberDataPoint) string {
	switch v := p.Value.(type) {
	case *metricspb.NumberDataPoint_AsInt:
		return fmt.Sprint(v.AsInt)
	case *metricspb.NumberDataPoint_AsDouble:
		return fmt.Sprintf("%gd", v.AsDouble)
	}
	return "no value"
}

// text prints everything, a point a line; times as seconds after tick.
func (f *found) text() string {
	var b strings.Builder
	after := func(ns uint64) float64 { return time.Duration(ns - tick).Seconds() }
	for _, r := range f.resources {
		fmt.Fprintf(&b, "resource %s\n", r)
		for _, m := range f.metrics[r] {
			kind := "gauge"
			if s := m.GetSum(); s != nil {
				kind = fmt.Sprintf("sum monotonic=%t", s.IsMonotonic)
			}
			fmt.Fprintf(&b, "  %s %s [%s]\n", m.Name, kind, m.Unit)
			for _, p := range pointsOf(m) {
				start := ""
				if p.StartTimeUnixNano != 0 {
					start = fmt.Sprintf(" since %gs", after(p.StartTimeUnixNano))
				}
				fmt.Fprintf(&b, "    {%s} %s%s at %gs\n", attrText(p.Attributes), valueText(p), start, after(p.TimeUnixNano))
			}
		}
	}
	if f.err != nil {
		fmt.Fprintf(&b, "error: %v\n", f.err)
	}
	return b.String()
}
