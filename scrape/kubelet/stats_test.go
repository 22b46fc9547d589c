package kubelet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"stint/export/otlp"
	"stint/scrape/dedup"
)

// made writes a summary by hand: a node, and pods.
func made(node string, pods ...string) []byte {
	return []byte(`{"node":{` + node + `},"pods":[` + strings.Join(pods, ",") + `]}`)
}

// aPod is the pod p1 with more fields, or containers.
func aPod(fields string) string {
	return `{"podRef":{"name":"web-0","namespace":"default","uid":"p1"},"startTime":"2026-11-22T12:00:00Z",` + fields + `}`
}

func aContainer(start, fields string) string {
	return aPod(`"containers":[{"name":"app","startTime":"2026-11-22T` + start + `Z",` + fields + `}]`)
}

// known is p1 as the table of pods has it.
func known(id string) *Pod {
	return &Pod{Namespace: "default", Name: "web-0", UID: "p1", Owner: Owner{"StatefulSet", "web"},
		Containers: []Container{{Name: "app", ID: id, Image: "reg:5000/app:1.2", Running: true, CPULimit: 2, MemoryLimit: 1 << 20, MemoryRequest: 1 << 19}},
		Volumes:    []Volume{{Name: "data", Type: claimVolume, Claim: "data-web-0"}, {Name: "cfg", Type: "configMap"}, {Name: "tmp", Type: "emptyDir"}},
	}
}

func cpuAtTime(clock string, ns uint64) string {
	return fmt.Sprintf(`"cpu":{"time":"2026-11-22T%sZ","usageCoreNanoSeconds":%d}`, clock, ns)
}

// TestStatsVectors: the worked cases of the overlap table that the kubelet's source decides.
func TestStatsVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		ID     int
		Cycles []struct {
			In []struct {
				Src string            `json:"src"`
				M   string            `json:"m"`
				A   map[string]string `json:"a"`
				T   uint64            `json:"t"`
				V   json.Number       `json:"v"`
			}
			Out []int
		}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&vectors); err != nil {
		t.Fatal(err)
	}
	// Where a metric stands in the summary: its block in the pod or its container, and the field.
	type place struct{ part, block, field string }
	places := map[string]place{
		"container.cpu.time":                    {"container", "cpu", "usageCoreNanoSeconds"},
		"k8s.pod.cpu.time":                      {"pod", "cpu", "usageCoreNanoSeconds"},
		"k8s.pod.filesystem.usage":              {"pod", "ephemeral-storage", "usedBytes"},
		"container.filesystem.usage":            {"container", "rootfs", "usedBytes"},
		"container.filesystem.capacity":         {"container", "rootfs", "capacityBytes"},
		"container.filesystem.available":        {"container", "rootfs", "availableBytes"},
		"k8s.container.ephemeral_storage.usage": {"container", "logs", "usedBytes"},
		"container.memory.available":            {"container", "memory", "availableBytes"},
		"container.memory.working_set":          {"container", "memory", "workingSetBytes"},
	}
	for _, v := range vectors {
		if !slices.Contains([]int{12, 15, 20, 21, 23}, v.ID) {
			continue
		}
		t.Run(fmt.Sprint(v.ID), func(t *testing.T) {
			cfg := Defaults()
			cfg.Containers.Detail = v.ID == 23
			p := known("c1")
			p.HostNetwork = v.ID == 15
			r := newRig(t, cfg, nil, p)
			for n, c := range v.Cycles {
				var want []string
				blocks := map[string]map[string]map[string]any{"pod": {}, "container": {}}
				for i, in := range c.In {
					if in.Src != "kubelet" {
						continue
					}
					at := time.Unix(int64(in.T), 0).UTC()
					block := func(part, name string) map[string]any {
						if blocks[part][name] == nil {
							blocks[part][name] = map[string]any{"time": at.Format(time.RFC3339)}
						}
						return blocks[part][name]
					}
					value := string(in.V)
					switch pl, ok := places[in.M]; {
					case in.M == "k8s.pod.network.io":
						block("pod", "network")["interfaces"] = []any{map[string]any{"name": "ens5", "rxBytes": in.V}}
					case in.A["k8s.container.ephemeral_storage.fs_type"] == "rootfs": // the same field as container.filesystem.usage
					case ok && pl.field == "usageCoreNanoSeconds":
						f, _ := in.V.Float64()
						block(pl.part, pl.block)[pl.field] = uint64(f * 1e9)
						value = fmt.Sprintf("%gd", f)
					case ok:
						block(pl.part, pl.block)[pl.field] = in.V
					default:
						t.Fatalf("metric %s", in.M)
					}
					if slices.Contains(c.Out, i) {
						want = append(want, fmt.Sprintf("%s %s @%s", in.M, value, at.Format("15:04:05")))
					}
				}
				pod, container := blocks["pod"], blocks["container"]
				body := map[string]any{"podRef": map[string]string{"uid": "p1"}, "startTime": "1970-01-01T00:06:30Z"}
				for k, b := range pod {
					body[k] = b
				}
				run := map[string]any{"name": "app", "startTime": "1970-01-01T00:06:40Z"}
				for k, b := range container {
					run[k] = b
				}
				body["containers"] = []any{run}
				text, _ := json.Marshal(map[string]any{"node": map[string]any{}, "pods": []any{body}})
				f := r.poll(time.Unix(int64(1010+30*n), 0), text)
				var got []string
				for name := range f.names() {
					for _, p := range f.of(name) {
						if name == "container.uptime" { // which is on with container.memory.available
							continue
						}
						got = append(got, name+p[strings.Index(p, "}")+1:])
					}
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("cycle %d: %q, want %q", n, got, want)
				}
			}
		})
	}
}

// TestStatsMissingFields: what is not told has no point, and no other figure in its place.
func TestStatsMissingFields(t *testing.T) {
	r := newRig(t, everything(), nil, known("c1"))
	const at = `"time":"2026-11-22T12:00:50Z"`
	f := r.poll(day("12:01:00"), made(
		`"memory":{`+at+`,"workingSetBytes":5},"fs":{`+at+`,"capacityBytes":7,"inodes":0,"inodesFree":0},"rlimit":{"maxpid":9},"swap":{`+at+`}`,
		aContainer("12:00:01", `"memory":{`+at+`,"usageBytes":6,"pageFaults":3},"cpu":{`+at+`},"rootfs":{"usedBytes":7},"logs":{`+at+`,"usedBytes":0}`),
	))
	var got []string
	for name := range f.names() {
		got = append(got, name+f.of(name)[0])
	}
	slices.Sort(got)
	want := []string{
		"container.memory.usage{} 6 @12:00:50", "container.uptime{} 59d @12:01:00",
		"k8s.container.ephemeral_storage.usage{k8s.container.ephemeral_storage.fs_type=logs} 0 @12:00:50",
		"k8s.container.memory.limit.utilization{} 5.7220458984375e-06d @12:00:50", "k8s.container.memory.node.utilization{} 7.194219208895263e-10d @12:00:50",
		"k8s.container.memory.request.utilization{} 1.1444091796875e-05d @12:00:50",
		"k8s.node.filesystem.capacity{} 7 @12:00:50", "k8s.node.memory.working_set{} 5 @12:00:50", "k8s.pod.uptime{} 60d @12:01:00",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// A time that lies ahead would make all that follows seem outdated.
	r.poll(day("12:01:30"), made(`"memory":{"time":"2056-11-22T12:00:50Z","workingSetBytes":5}`)).want("k8s.node.memory.working_set")
	r.poll(day("12:02:00"), made(`"memory":{"time":"2026-11-22T12:01:50Z","workingSetBytes":6}`)).want("k8s.node.memory.working_set", "{} 6 @12:01:50")
}

// TestStatsVolumes: attributes, which are sent, and zeros for what the kubelet does not know.
func TestStatsVolumes(t *testing.T) {
	volume := func(name, figures string) string {
		return `{"time":"2026-11-22T12:00:50Z",` + figures + `,"name":"` + name + `"}`
	}
	const good = `"availableBytes":5,"capacityBytes":9,"usedBytes":4,"inodesFree":3,"inodes":8,"inodesUsed":5`
	body := made(``, aPod(`"volume":[`+strings.Join([]string{
		volume("data", good), volume("cfg", good), volume("tmp", `"availableBytes":0,"capacityBytes":0,"usedBytes":0,"inodesFree":0,"inodes":0,"inodesUsed":0`),
		volume("other", good+`,"pvcRef":{"name":"theirs","namespace":"default"}`),
	}, ",")+`]`))
	r := newRig(t, Defaults(), nil, known("c1"))
	f := r.poll(day("12:01:00"), body)
	f.want("k8s.pod.volume.usage",
		"{k8s.volume.name=data k8s.volume.type=persistentVolumeClaim k8s.persistentvolumeclaim.name=data-web-0} 4 @12:00:50",
		"{k8s.volume.name=other k8s.volume.type=persistentVolumeClaim k8s.persistentvolumeclaim.name=theirs} 4 @12:00:50")
	if n := len(f.of("k8s.pod.volume.inode.free")); n != 2 || len(f.of("k8s.pod.volume.inode.count")) != 0 {
		t.Errorf("inodes: %s", f.text())
	}
	all := everything()
	f = newRig(t, all, nil, known("c1")).poll(day("12:01:00"), body)
	if got := f.of("k8s.pod.volume.inode.count"); len(got) != 3 || got[1] != "{k8s.volume.name=cfg k8s.volume.type=configMap} 8 @12:00:50" {
		t.Errorf("all volumes: %q", got)
	}
	all.Volumes = "none"
	if f = newRig(t, all, nil, known("c1")).poll(day("12:01:00"), body); f.names()["k8s.pod.volume.usage"] {
		t.Error("volumes: none, but there are some")
	}
}

// TestStatsHostNetwork: by the table, and without it by the names of the interfaces.
func TestStatsHostNetwork(t *testing.T) {
	network := func(names ...string) string {
		var list []string
		for _, n := range names {
			list = append(list, `{"name":"`+n+`","rxBytes":1,"txBytes":2}`)
		}
		return `"network":{"time":"2026-11-22T12:00:50Z","name":"eth0","rxBytes":1,"interfaces":[` + strings.Join(list, ",") + `]}`
	}
	onHost := known("c1")
	onHost.HostNetwork = true
	for name, tc := range map[string]struct {
		pod  *Pod
		pods []string
		want int
	}{
		"on the host's, says the table":       {onHost, []string{"eth0"}, 0},
		"its own, says the table":             {known("c1"), []string{"lo", "ens5", "ens6"}, 6},
		"unknown, with the node's interfaces": {nil, []string{"ens6", "ens5", "lo"}, 0},
		"unknown, with others":                {nil, []string{"lo", "ens5", "eth0"}, 6},
		"unknown, with some of them":          {nil, []string{"ens5"}, 2},
	} {
		var pods []*Pod
		if tc.pod != nil {
			pods = append(pods, tc.pod)
		}
		r := newRig(t, Defaults(), nil, pods...)
		r.poll(day("12:01:00"), made(network("lo", "ens5", "ens6"), aPod(network(tc.pods...))))
		body := bytes.ReplaceAll(made(network("lo", "ens5", "ens6"), aPod(network(tc.pods...))), []byte("12:00:50"), []byte("12:01:20"))
		if got := r.poll(day("12:01:30"), body).of("k8s.pod.network.io"); len(got) != tc.want {
			t.Errorf("%s: %q, want %d points", name, got, tc.want)
		}
	}
}

// TestStatsRestartedContainer: another run is another entity, once the table tells its id; its
// figures are never under the id of the run before.
func TestStatsRestartedContainer(t *testing.T) {
	r := newRig(t, everything(), nil, known("c1"))
	r.poll(day("12:01:00"), made(``, aContainer("12:00:01", cpuAtTime("12:00:50", 40e9))))
	f := r.poll(day("12:01:30"), made(``, aContainer("12:00:01", cpuAtTime("12:01:20", 70e9))))
	f.want("container.cpu.usage", "{} 1d @12:01:20")
	f.want("k8s.container.cpu.limit.utilization", "{} 0.5d @12:01:20")
	if !strings.Contains(f.text(), "container.id=c1 k8s.pod.uid=p1 k8s.namespace.name=default k8s.pod.name=web-0 k8s.statefulset.name=web k8s.container.name=app container.image.name=reg:5000/app container.image.tags=[1.2] host.name=lab k8s.node.name=lab-node-1") {
		t.Errorf("resource: %s", f.text())
	}

	second := made(``, aContainer("12:01:40", cpuAtTime("12:01:50", 1e9)))
	r.poll(day("12:02:00"), second).want("container.cpu.time") // the table is behind
	r.table.put(known("c2"), sourcePoll)
	f = r.poll(day("12:02:30"), second)
	if got := f.of("container.cpu.time", "container.id=c2"); !slices.Equal(got, []string{"{} 1d @12:01:50"}) || !strings.Contains(f.text(), "1d s counter since 12:01:40") {
		t.Errorf("second run: %s", f.text())
	}
	f.want("container.cpu.usage")

	// The table is ahead of the summary: what the summary has is still the run before.
	r.table.put(known("c3"), sourcePoll)
	f = r.poll(day("12:03:00"), made(``, aContainer("12:01:40", cpuAtTime("12:02:50", 5e9))))
	if got := f.of("container.cpu.time", "container.id=c2"); !slices.Equal(got, []string{"{} 5d @12:02:50"}) {
		t.Errorf("second run, third known: %s", f.text())
	}
	f = r.poll(day("12:03:30"), made(``, aContainer("12:03:10", cpuAtTime("12:03:20", 1e9))))
	if got := f.of("container.cpu.time", "container.id=c3"); !slices.Equal(got, []string{"{} 1d @12:03:20"}) {
		t.Errorf("third run: %s", f.text())
	}
}

// TestStatsFallingCPUTime: twice it is an error of the kubelet; the third time it began anew, after
// the last good point. Rates know nothing of the fall.
func TestStatsFallingCPUTime(t *testing.T) {
	r := newRig(t, everything(), nil, known("c1"))
	at := day("12:01:00")
	for i, step := range []struct {
		cpu   uint64
		point string // of CPU time
		rate  string
	}{
		{0, "", ""}, // no figure yet
		{60e9, "60d s counter since 12:00:01 at 12:01:30", ""},
		{0, "", ""},
		{90e9, "90d s counter since 12:00:01 at 12:02:30", "{} 0.5d @12:02:30"},
		{1e9, "", ""},
		{2e9, "", ""},
		{3e9, "3d s counter since 12:02:30 at 12:04:00", ""},
		{18e9, "18d s counter since 12:02:30 at 12:04:30", "{} 0.5d @12:04:30"},
	} {
		clock := at.Format("15:04:05")
		f := r.poll(at, made(``, aContainer("12:00:01", cpuAtTime(clock, step.cpu))))
		_, got, _ := strings.Cut(f.text(), "container.cpu.time{} ")
		if got, _, _ = strings.Cut(got, "\n"); got != step.point {
			t.Errorf("step %d: %q, want %q", i, got, step.point)
		}
		if got = strings.Join(f.of("container.cpu.usage"), ""); got != step.rate {
			t.Errorf("step %d: rate %q, want %q", i, got, step.rate)
		}
		at = at.Add(30 * time.Second)
	}
}

// TestStatsUnnamedContainers: without a table of pods there is still the summary.
func TestStatsUnnamedContainers(t *testing.T) {
	r := newRig(t, Defaults(), nil)
	r.poll(day("12:01:00"), made(``, aContainer("12:00:01", cpuAtTime("12:00:50", 40e9)))).want("container.cpu.time")
	f := r.poll(day("12:01:30"), made(``, aContainer("12:00:01", cpuAtTime("12:01:20", 70e9))))
	if got := f.of("container.cpu.time", "k8s.container.name=app", "k8s.pod.name=web-0"); len(got) != 1 {
		t.Errorf("unknown pod: %s", f.text())
	}
	if n := r.unnamedGauge.Load(); n != 1 {
		t.Errorf("%d are unnamed, want 1", n)
	}
	r.table.put(known("c1"), sourcePoll)
	f = r.poll(day("12:02:00"), made(``, aContainer("12:00:01", cpuAtTime("12:01:50", 90e9))))
	if got := f.of("container.cpu.time", "container.id=c1"); len(got) != 1 || r.unnamedGauge.Load() != 0 {
		t.Errorf("known at last: %s", f.text())
	}
}

// TestStatsPressureUnits: the same 1.5 s, told in µs by cAdvisor and in ns by the CRI.
func TestStatsPressureUnits(t *testing.T) {
	psi := func(clock string, total uint64, avg10, avg60 string) string {
		return fmt.Sprintf(`"io":{"time":"2026-11-22T%sZ","psi":{"full":{"total":%d},"some":{"total":%d,"avg10":%s,"avg60":%[4]s,"avg300":0}}}`, clock, total/2, total, avg10, avg60)
	}
	poll := func(r *rig, clock, pod string) *found {
		at := day(clock)
		// The node has waited, so there is PSI.
		return r.poll(at, made(psi(at.Add(-5*time.Second).Format("15:04:05"), 99, "0", "0"), aPod(pod)))
	}
	r := newRig(t, Defaults(), nil, known("c1"))
	poll(r, "12:01:00", psi("12:00:50", 0, "0", "0")).want("k8s.pod.io.pressure.time", "{psi.type=some} 0d @12:00:50", "{psi.type=full} 0d @12:00:50")
	// 1.5 s in 30 s are 5 %, as the averages say.
	poll(r, "12:01:30", psi("12:01:20", 1_500_000, "5.1", "4.9")).want("k8s.pod.io.pressure.time", "{psi.type=some} 1.5d @12:01:20", "{psi.type=full} 0.75d @12:01:20")
	poll(r, "12:02:00", psi("12:01:50", 1_500_000, "0", "1.2")).want("k8s.pod.io.pressure.time", "{psi.type=some} 1.5d @12:01:50", "{psi.type=full} 0.75d @12:01:50")

	r = newRig(t, Defaults(), nil, known("c1"))
	poll(r, "12:01:00", psi("12:00:50", 1_500_000, "0", "0")).want("k8s.pod.io.pressure.time") // cannot be told
	poll(r, "12:01:30", psi("12:01:20", 1_500_000, "0", "0")).want("k8s.pod.io.pressure.time")
	poll(r, "12:02:00", psi("12:01:50", 4_500_000, "0.01", "0.5")).want("k8s.pod.io.pressure.time") // 10 % in µs, or the end of a pressure in ns
	poll(r, "12:02:30", psi("12:02:20", 1_504_500_000, "5", "5")).want("k8s.pod.io.pressure.time", "{psi.type=some} 1.5045d @12:02:20", "{psi.type=full} 0.75225d @12:02:20")

	r = newRig(t, Defaults(), nil, known("c1"))
	// 50 s old, and more than 50 s in µs.
	poll(r, "12:01:00", psi("12:00:50", 1_500_000_000, "0", "0")).want("k8s.pod.io.pressure.time", "{psi.type=some} 1.5d @12:00:50", "{psi.type=full} 0.75d @12:00:50")

	r = newRig(t, Defaults(), nil, known("c1"))
	r.poll(day("12:01:00"), made(psi("12:00:50", 0, "0", "0"), aPod(psi("12:00:50", 0, "0", "0")))).want("k8s.pod.io.pressure.time") // no PSI: zeros
}

// TestStatsGarbage: an answer that breaks off sends nothing, and is nothing to the next.
func TestStatsGarbage(t *testing.T) {
	good := func(clock string, ns uint64) []byte {
		return made(cpuAtTime(clock, ns), aContainer("12:00:01", cpuAtTime(clock, ns)))
	}
	want := []string{"{} 1d @12:01:20"}
	for n := range good("12:01:10", 1) {
		r := newRig(t, everything(), nil, known("c1"))
		r.poll(day("12:01:00"), good("12:00:50", 40e9))
		err := r.take(day("12:01:15"), bytes.NewReader(good("12:01:10", 99e9)[:n]), func(*otlp.Group, []byte, int) { t.Fatalf("points of the first %d bytes", n) })
		if err == nil {
			t.Fatalf("no error for the first %d bytes", n)
		}
		f := r.poll(day("12:01:30"), good("12:01:20", 70e9))
		if got := f.of("container.cpu.usage", "container.id=c1"); !slices.Equal(got, want) {
			t.Fatalf("after %d bytes: %q, want %q", n, got, want)
		}
	}
}

// TestStatsManyPods: 250 are read; of 1100 those over the bound are left out and counted; what is
// gone is let go of, here and in the table of overlaps.
func TestStatsManyPods(t *testing.T) {
	r := newRig(t, Defaults(), nil)
	body := manyPods(t, 250, 2, 3)
	r.poll(day("15:47:41"), body)
	f := r.poll(day("15:48:11"), body)
	if n, m := len(f.of("container.memory.usage")), len(f.of("k8s.pod.volume.usage")); n != 500 || m != 750 {
		t.Errorf("%d containers and %d volumes of 250 pods", n, m)
	}
	r.poll(day("15:48:41"), manyPods(t, 1100, 0, 0))
	if n := r.leftGauge.Load(); n != 76 || len(r.pods) != 1024 || len(r.byUID) != 1024 {
		t.Errorf("%d are left out, %d known", n, len(r.pods))
	}
	r.poll(day("15:49:11"), made(``))
	if len(r.pods)+len(r.byUID)+len(r.system) > 0 {
		t.Errorf("%d pods are left", len(r.pods))
	}
	// Nobody else holds what was released: another start time is as good as the first.
	if at := r.overlap.Start(dedup.Pod, "21c17709-7981-4881-99ce-000000000001", 7); at != 7 {
		t.Errorf("a pod that is gone still has the start time %d", at)
	}
	if err := r.Close(); err != nil || r.node != nil {
		t.Error("close", err)
	}
	if at := r.overlap.Start(dedup.Node, "", 7); at != 7 {
		t.Errorf("the node still has the start time %d", at)
	}
}

// TestStatsTakeOver replays the captures over TLS, beside another source of the same containers: it
// has them while it works, the kubelet's are sent when it does not, and the other way round.
func TestStatsTakeOver(t *testing.T) {
	body := captured(t, "stats_summary.t0.json")
	down := false
	k := newKubelet(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+goodToken || r.URL.Path != "/stats/summary":
			http.Error(w, "no", http.StatusForbidden)
		case down:
			w.Write(body[:len(body)/2])
		default:
			w.Write(body)
		}
	})
	k.cfg.Interval = time.Minute
	r := newRig(t, k.cfg, k.client(t, slog.New(slog.DiscardHandler)), capturedPods(t)...)
	const id, metric = "935934266b9c9a26381aee782c8f57ab2e6ef5b50dc6be58f6a308d8ce427205", "container.memory.usage"
	key := dedup.Key{Kind: dedup.Container, Entity: id, Concept: metric}
	cgroup := r.overlap.Claim("cgroup", time.Minute, key, false)
	other := func(at time.Time) bool {
		return cgroup.Judge(at, uint64(at.UnixNano()), nil, 1) == dedup.Pass
	}
	scrape := func(at time.Time) (n int, err error) {
		f := &found{t: t}
		err = r.Scrape(t.Context(), 0, at, f.hand)
		return len(f.of(metric, "container.id="+id)), err
	}
	at := day("15:47:00")
	next := func(moment string) {
		at = at.Add(time.Minute)
		if moment != "" { // with all its times in the minute before
			body = regexp.MustCompile(`T15:4[6-8]:`).ReplaceAll(captured(t, "stats_summary."+moment+".json"), fmt.Appendf(nil, "T15:%d:", at.Minute()-1))
		}
	}
	step := func(what string, others, ours bool, failed string) {
		t.Helper()
		n, err := scrape(at)
		if (n == 1) != ours || (err != nil) != (failed != "") || err != nil && !strings.Contains(err.Error(), failed) {
			t.Errorf("%s, %v: %d points of ours (want %v), error %v (want %q)", what, at, n, ours, err, failed)
		}
		if again, err2 := scrape(at.Add(10 * time.Second)); again != 0 || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Errorf("%s: between polls: %d points, %v", what, again, err2)
		}
		if others && ours {
			t.Errorf("%s: both", what)
		}
	}

	step("both work", other(at), false, "")
	next("t1")
	step("both work", other(at), false, "")
	next("t2") // the cgroup's is missing once: held
	step("the other fails", false, false, "")
	next("busy")
	step("take-over", false, true, "")
	next("after")
	step("ours", false, true, "")
	next("")
	down = true
	step("both fail", false, false, "byte ")
	next("")
	if !other(at) {
		t.Error("the better source is back, but not sent")
	}
	step("the other is back", true, false, "byte ")
	next("busy")
	down = false
	if !other(at) {
		t.Error("the better source is not sent")
	}
	step("both work again", true, false, "")
	if n := count(t, r.failures.WithLabelValues("malformed")); n != 2 {
		t.Errorf("%d failures are counted, want 2", n)
	}
	if n := k.dials.Load(); n > 3 {
		t.Errorf("%d connections", n)
	}
	cgroup.Release()
}

// TestStatsAsksSoonAtTheStart: what waits for the table of pods is asked for again at once, not an
// interval later; and the kubelet's refusal is told as it is.
func TestStatsAsksSoonAtTheStart(t *testing.T) {
	body := made(``, aContainer("12:00:01", cpuAtTime("12:00:50", 40e9)))
	k := newKubelet(t, func(w http.ResponseWriter, r *http.Request) { w.Write(body) })
	r := newRig(t, k.cfg, k.client(t, slog.New(slog.DiscardHandler)))
	if r.Name() != "kubelet" || !slices.Equal(r.Scrapers(), []string{"stats"}) {
		t.Errorf("source %s with %q", r.Name(), r.Scrapers())
	}
	f := &found{t: t}
	for i, clock := range []string{"12:01:03", "12:01:10", "12:01:20", "12:01:30", "12:01:40"} {
		if i == 1 {
			r.table.put(known("c1"), sourcePoll)
		}
		if err := r.Scrape(t.Context(), 0, day(clock), f.hand); err != nil {
			t.Fatal(err)
		}
	}
	if n := k.requests.Load(); n != 3 {
		t.Errorf("%d requests, want those of 12:01:03, 12:01:10 and 12:01:30", n)
	}
	f.want("container.cpu.time", "{} 40d @12:00:50")
	refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Forbidden (user=x)", http.StatusForbidden)
	})
	k.handler.Store(&refuse)
	err := r.Scrape(t.Context(), 0, day("12:02:00"), f.hand)
	wantFailure(t, err, "forbidden", "nodes/stats")
	if err2 := r.Scrape(t.Context(), 0, day("12:02:10"), f.hand); err2 != err {
		t.Errorf("between polls: %v, want the same error", err2)
	}
}

// TestStatsGroups: each can be turned off, without the others.
func TestStatsGroups(t *testing.T) {
	for name, tc := range map[string]struct {
		off    func(*Config)
		prefix []string // of the metrics that are gone
	}{
		"node":       {func(c *Config) { c.Node.Enabled = false }, []string{"k8s.node."}},
		"pods":       {func(c *Config) { c.Pods.Enabled = false }, []string{"k8s.pod.cpu.", "k8s.pod.memory.", "k8s.pod.network.", "k8s.pod.filesystem."}},
		"containers": {func(c *Config) { c.Containers.Enabled = false }, []string{"container.", "k8s.container."}},
		"volumes":    {func(c *Config) { c.Volumes = "none" }, []string{"k8s.pod.volume."}},
	} {
		cfg := Defaults()
		tc.off(&cfg)
		all := newRig(t, Defaults(), nil, capturedPods(t)...).poll(day(captures["busy"]), captured(t, "stats_summary.busy.json")).names()
		some := newRig(t, cfg, nil, capturedPods(t)...).poll(day(captures["busy"]), captured(t, "stats_summary.busy.json")).names()
		for metric := range all {
			off := slices.ContainsFunc(tc.prefix, func(p string) bool { return strings.HasPrefix(metric, p) })
			if some[metric] == off {
				t.Errorf("without %s: %s is emitted: %v", name, metric, some[metric])
			}
		}
	}
}

// TestStatsSelfMetrics: names are unique and end as they should.
func TestStatsSelfMetrics(t *testing.T) {
	r := newRig(t, Defaults(), nil)
	r.failures.WithLabelValues("timeout").Inc()
	families, err := r.reg.Gather()
	if err != nil || len(families) != 3 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "stint_kubelet_stats_") {
			t.Errorf("name %s", f.GetName())
		}
	}
	if _, err := NewStats(Defaults(), r.client, r.table, "", "1", nil, r.overlap, slog.New(slog.DiscardHandler), r.reg); err == nil {
		t.Error("registered twice without an error")
	}
}
