package kubelet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"stint/export/otlp"
	"stint/scrape/dedup"
)

// podParts is a pod of a summary in the kubelet's order of keys.
type podParts struct {
	PodRef     json.RawMessage   `json:"podRef"`
	StartTime  json.RawMessage   `json:"startTime"`
	Containers []json.RawMessage `json:"containers"`
	CPU        json.RawMessage   `json:"cpu"`
	Memory     json.RawMessage   `json:"memory"`
	IO         json.RawMessage   `json:"io"`
	Network    json.RawMessage   `json:"network"`
	Volume     []json.RawMessage `json:"volume"`
	Ephemeral  json.RawMessage   `json:"ephemeral-storage"`
	Processes  json.RawMessage   `json:"process_stats"`
	Swap       json.RawMessage   `json:"swap"`
}

// manyPods makes a summary of so many pods, with containers and volumes, out of the captured one:
// pod-I with the containers c0, c1, … and the claims data-I.
func manyPods(t testing.TB, pods, containers, volumes int) []byte {
	t.Helper()
	var all struct {
		Node json.RawMessage `json:"node"`
		Pods []podParts      `json:"pods"`
	}
	if err := json.Unmarshal(captured(t, "stats_summary.busy.json"), &all); err != nil {
		t.Fatal(err)
	}
	model := all.Pods[0]
	_, rest, _ := bytes.Cut(model.Containers[0], []byte(","))
	const volume = `{"time":"2026-11-22T15:47:08Z","availableBytes":67096576,"capacityBytes":67108864,"usedBytes":12288,"inodesFree":3085502,"inodes":3085511,"inodesUsed":9,"name":"data-%d","pvcRef":{"name":"data-%[1]d","namespace":"shop"}}`
	model.Containers, model.Volume = nil, nil
	for i := range containers {
		model.Containers = append(model.Containers, fmt.Appendf(nil, `{"name":"c%d",%s`, i, rest))
	}
	for i := range volumes {
		model.Volume = append(model.Volume, fmt.Appendf(nil, volume, i))
	}
	all.Pods = nil
	for i := range pods {
		model.PodRef = fmt.Appendf(nil, `{"name":"pod-%d","namespace":"shop","uid":"21c17709-7981-4881-99ce-%012d"}`, i, i)
		all.Pods = append(all.Pods, model)
	}
	body, err := json.MarshalIndent(all, "", " ") // as the kubelet does
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func BenchmarkSummary(b *testing.B) {
	body := manyPods(b, 110, 2, 3)
	s := newSummary(func() {}, func() {})
	r := bytes.NewReader(body)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(body)
		if err := s.read(r); err != nil {
			b.Fatal(err)
		}
	}
}

// movingSummary is an answer whose times can be moved on.
type movingSummary struct {
	body  []byte
	times []int // where HH:MM:SS stands
	r     *bytes.Reader
	at    time.Time
}

func newMovingSummary(t testing.TB) *movingSummary {
	m := &movingSummary{body: manyPods(t, 110, 2, 3), at: day("15:50:00")}
	m.r = bytes.NewReader(m.body)
	for i := 0; ; {
		n := bytes.Index(m.body[i:], []byte(`"time": "2026-11-22T`))
		if n < 0 {
			return m
		}
		i += n + len(`"time": "2026-11-22T`)
		m.times = append(m.times, i)
	}
}

// next is a scrape later.
func (m *movingSummary) next() {
	m.at = m.at.Add(time.Second)
	var clock [8]byte
	m.at.AppendFormat(clock[:0], "15:04:05")
	for _, i := range m.times {
		copy(m.body[i:], clock[:])
	}
	m.r.Reset(m.body)
}

// ofManyPods are the pods of manyPods as the table has them.
func ofManyPods(n int) (pods []*Pod) {
	for i := range n {
		p := &Pod{Namespace: "shop", Name: fmt.Sprintf("pod-%d", i), UID: fmt.Sprintf("21c17709-7981-4881-99ce-%012d", i), Owner: Owner{"DaemonSet", "pod"}}
		for c := range 2 {
			p.Containers = append(p.Containers, Container{Name: fmt.Sprintf("c%d", c), ID: fmt.Sprintf("%032d%032d", i, c), Image: "reg/app:1"})
		}
		pods = append(pods, p)
	}
	return pods
}

// TestStatsSteadyPollAllocatesNothing: beside the request, of which it says nothing.
func TestStatsSteadyPollAllocatesNothing(t *testing.T) {
	r, m, points := newRig(t, Defaults(), nil, ofManyPods(110)...), newMovingSummary(t), 0
	hand := func(_ *otlp.Group, _ []byte, n int) { points += n }
	poll := func() {
		m.next()
		if err := r.take(m.at, m.r, hand); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		poll()
	}
	points = 0
	if n := testing.AllocsPerRun(10, poll); n != 0 {
		t.Errorf("%v allocations in a steady poll", n)
	}
	if points /= 11; points < 110*(2*8+3*5+4) {
		t.Errorf("%d points a poll", points)
	}
}

// BenchmarkStatsPoll is a poll of 110 pods x 2 containers x 3 volumes, of which all is new: decoded,
// compared, judged and handed over; beside the request. cpu-ns/op is user and system time of the process.
func BenchmarkStatsPoll(b *testing.B) {
	for _, what := range []string{"sent", "cgroups have it", "names=prometheus", "names=both"} {
		b.Run(what, func(b *testing.B) {
			names := strings.TrimPrefix(what, "names=")
			r, m, points := newRig(b, withNames(Defaults(), names), nil, ofManyPods(110)...), newMovingSummary(b), 0
			if what == "cgroups have it" {
				for _, p := range r.table.All() {
					for _, metric := range containerMetrics {
						for _, c := range p.Containers {
							r.overlap.Claim("cgroup", 24*time.Hour, dedup.Key{Kind: dedup.Container, Entity: c.ID, Concept: metric.Name}, false)
						}
					}
				}
			}
			hand := func(_ *otlp.Group, _ []byte, n int) { points += n }
			poll := func() {
				m.next()
				if err := r.take(m.at, m.r, hand); err != nil {
					b.Fatal(err)
				}
			}
			for range 3 { // the first ones make what is kept
				poll()
			}
			points = 0
			b.SetBytes(int64(len(m.body)))
			b.ReportAllocs()
			n := 0
			before := cpuTimeUsed()
			for b.Loop() {
				poll()
				n++
			}
			b.ReportMetric(float64(cpuTimeUsed()-before)/float64(n), "cpu-ns/op")
			b.ReportMetric(float64(points)/float64(n), "points/op")
		})
	}
}

func cpuTimeUsed() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
