package cgroup

import (
	"encoding/csv"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"stint/export/otlp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// id makes an id of 64 digits.
func id(digit string) string { return strings.Repeat(digit, 64) }

const (
	uid1 = "11111111-aaaa-4bbb-8ccc-000000000001"
	uid2 = "0123456789abcdef0123456789abcdef" // of a static pod
)

// everyPath has a container of each runtime and driver, and what goes with them.
var everyPath = map[string]identity{
	// Kubernetes, systemd driver
	"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11111111_aaaa_4bbb_8ccc_000000000001.slice":                                       {kind: pod, uid: uid1},
	"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11111111_aaaa_4bbb_8ccc_000000000001.slice/cri-containerd-" + id("a") + ".scope":  {kind: container, uid: uid1, id: id("a")},
	"/kubepods.slice/kubepods-pod" + uid2 + ".slice/crio-" + id("b") + ".scope":                                                                       {kind: container, uid: uid2, id: id("b")},
	"/kubepods.slice/kubepods-pod" + uid2 + ".slice/crio-conmon-" + id("b") + ".scope":                                                                {},
	"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + uid2 + ".slice/docker-" + id("c") + ".scope":                                {kind: container, uid: uid2, id: id("c")},
	"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + uid2 + ".slice/" + id("d") + ".scope": {kind: container, uid: uid2, id: id("d")},
	// Kubernetes, cgroupfs driver
	"/kubepods/burstable/pod" + uid1:                          {kind: pod, uid: uid1},
	"/kubepods/burstable/pod" + uid1 + "/" + id("e"):          {kind: container, uid: uid1, id: id("e")},
	"/kubepods/pod" + uid1 + "/crio-" + id("f"):               {kind: container, uid: uid1, id: id("f")},
	"/kubelet/kubepods/besteffort/pod" + uid1 + "/" + id("1"): {kind: container, uid: uid1, id: id("1")},
	"/kubepods/pod" + uid1 + "/crio-conmon-" + id("f"):        {},
	"/kubepods/besteffort/podcast":                            {},
	// the kubelet and containerd with different drivers
	"/system.slice/containerd.service/kubepods-burstable-pod11111111_aaaa_4bbb_8ccc_000000000001.slice:cri-containerd:" + id("2"): {kind: container, uid: uid1, id: id("2")},
	// without Kubernetes
	"/docker/" + id("3"):                                                                    {kind: container, id: id("3")},
	"/system.slice/docker-" + id("4") + ".scope":                                            {kind: container, id: id("4")},
	"/machine.slice/libpod-" + id("5") + ".scope":                                           {kind: container, id: id("5")},
	"/machine.slice/libpod-" + id("5") + ".scope/container":                                 {},
	"/machine.slice/libpod-conmon-" + id("5") + ".scope":                                    {},
	"/machine.slice/machine-libpod_pod_" + id("6") + ".slice/libpod-" + id("7") + ".scope":  {kind: container, id: id("7")},
	"/libpod_parent/libpod_pod_" + id("6") + "/libpod-" + id("8"):                           {kind: container, id: id("8")},
	"/libpod_parent/conmon":                                                                 {},
	"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id("9") + ".scope": {kind: container, id: id("9")},
	"/default/" + id("0"):                                                                   {kind: container, id: id("0")},
	"/system.slice/nerdctl-" + id("a") + ".scope":                                           {kind: container, id: id("a")},
	// units
	"/system.slice":             {kind: unit, unit: "system.slice"},
	"/system.slice/ssh.service": {kind: unit, unit: "ssh.service"},
	"/system.slice/system-getty.slice/getty@tty1.service":     {kind: unit, unit: "getty@tty1.service"},
	"/user.slice/user-1000.slice/user@1000.service":           {kind: unit, unit: "user@1000.service"},
	"/user.slice/user-1000.slice/session-3.scope":             {},
	"/user.slice/user-1000.slice/user@1000.service/app.slice": {},
	"/system.slice/systemd-udevd.service/udev":                {},
	"/system.slice/a.slice/b.slice/c.service":                 {},
	"/init.scope":     {},
	"/kubepods.slice": {},
}

// identityOf walks down a path as the tree does; what lies in nothing of interest is nothing.
func identityOf(path string) identity {
	i, at := identity{descend: true}, ""
	for name := range strings.SplitSeq(path[1:], "/") {
		if !i.descend {
			return identity{}
		}
		at += "/" + name
		i = identify(at, i)
	}
	return i
}

func TestIdentify(t *testing.T) {
	for path, want := range everyPath {
		got := identityOf(path)
		got.kube, got.descend = false, false
		if want.kind == other {
			got.uid = ""
		}
		if got != want {
			t.Errorf("%s is %+v, want %+v", path, got, want)
		}
	}
}

// lookup is what a kubelet would tell of one of the pods above.
func lookup(uid string) *Pod {
	if uid == uid1 {
		return podOne
	}
	return nil
}

var podOne = &Pod{
	Resource: []otlp.KeyValue{otlp.Attr("k8s.namespace.name", "shop"), otlp.Attr("k8s.pod.name", "web-0"), otlp.Attr("k8s.statefulset.name", "web")},
	Containers: []Container{
		{ID: id("a"), Resource: []otlp.KeyValue{otlp.Attr("k8s.container.name", "app"), otlp.Attr("container.image.name", "registry/app")}},
		{ID: id("e"), Resource: []otlp.KeyValue{otlp.Attr("k8s.container.name", "app")}},
	},
}

// Trees of each version and driver, with defaults and with everything.
func TestGolden(t *testing.T) {
	full := Defaults()
	full.CPU.Detail, full.CPU.Modes, full.Memory.Detail, full.Disk.Detail, full.Threads.Detail = true, true, true, true, true
	full.Hugetlb.Enabled, full.Network.Detail, full.Processes = true, true, Group{true, true}
	systemd := "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11111111_aaaa_4bbb_8ccc_000000000001.slice"
	for name, tc := range map[string]struct {
		layout string
		cfg    Config
		paths  []string
	}{
		"v2-systemd":      {"v2", Defaults(), []string{systemd, systemd + "/cri-containerd-" + id("a") + ".scope", "/system.slice/ssh.service"}},
		"v2-full":         {"v2", full, []string{systemd, systemd + "/cri-containerd-" + id("a") + ".scope"}},
		"v2-bare":         {"v2", Defaults(), []string{"/system.slice", "/system.slice/ssh.service", "/system.slice/docker-" + id("4") + ".scope"}},
		"v1-cgroupfs":     {"v1", Defaults(), []string{"/kubepods/burstable/pod" + uid1, "/kubepods/burstable/pod" + uid1 + "/" + id("e")}},
		"v1-full":         {"v1", full, []string{"/kubepods/burstable/pod" + uid1, "/kubepods/burstable/pod" + uid1 + "/" + id("e")}},
		"v1-bare-full":    {"v1", full, []string{"/docker/" + id("3")}},
		"v1-bare":         {"v1", Defaults(), []string{"/docker/" + id("3"), "/system.slice/ssh.service"}},
		"hybrid-cgroupfs": {"hybrid", full, []string{"/kubepods/burstable/pod" + uid1, "/kubepods/burstable/pod" + uid1 + "/" + id("e")}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, tc.layout, tc.cfg, lookup)
			for _, path := range tc.paths {
				m.cgroup(tc.layout, path)
				if identityOf(path).kind == container {
					m.processes(tc.layout, path, 4242, 4243)
				}
			}
			got := m.scrape().text()
			file := "testdata/" + name + ".golden"
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (-want +got; go test -update after a look):\n%s", file, diff)
			}
			// The rate of CPU time needs two scrapes; nothing else differs.
			again := regexp.MustCompile(`(?m)^  \S+cpu\.usage .*\n(    .*\n)+`).ReplaceAllString(m.scrape().text(), "")
			if diff := cmp.Diff(got, strings.ReplaceAll(again, " at 10s", " at 0s")); diff != "" {
				t.Errorf("a patched scrape differs from the encoded one:\n%s", diff)
			}
		})
	}
}

// What is emitted is what the catalogue has.
func TestMetricsAreTheCatalogue(t *testing.T) {
	data, err := os.Open("testdata/catalogue.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	rows, err := csv.NewReader(data).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	type row struct{ Instrument, Unit, Type, Attributes string }
	want := map[string]row{}
	for _, r := range rows[1:] {
		want[r[1]] = row{r[2], r[3], r[4], attributeKeys(r[5])}
	}
	got := map[string]row{}
	for _, m := range Metrics() {
		kind, value := map[otlp.Instrument]string{otlp.Gauge: "gauge", otlp.Counter: "sum_monotonic", otlp.UpDown: "sum_updown"}[m.Instrument], "int"
		if m.Double {
			value = "double"
		}
		got[m.Name] = row{kind, m.Unit, value, attributeKeys(m.Attributes)}
		if !strings.HasSuffix(m.Description, ".") || m.Source == "" {
			t.Errorf("%s has no description in a sentence, or no source", m.Name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Metrics() differs from the catalogue (-want +got):\n%s", diff)
	}
}

// attributeKeys reduces "a=x|y; b=<int> (opt-in)" to "a b".
func attributeKeys(s string) string {
	var keys []string
	for part := range strings.SplitSeq(s, ";") {
		key, _, _ := strings.Cut(strings.TrimSpace(part), "=")
		key, _, _ = strings.Cut(key, " ")
		if key != "" {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

// Every metric of the tables is emitted somewhere in the golden files, and nothing else is.
func TestEmittedIsTheTable(t *testing.T) {
	emitted := map[string]bool{}
	for _, name := range []string{"v1-full", "v2-full", "v2-bare", "v1-bare-full"} {
		b, err := os.ReadFile("testdata/" + name + ".golden")
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.Lines(string(b)) {
			if f := strings.Fields(l); strings.HasPrefix(l, "  ") && !strings.HasPrefix(l, "   ") {
				emitted[f[0]] = true
			}
		}
	}
	for _, m := range Metrics() {
		if !emitted[m.Name] && !strings.HasSuffix(m.Name, "cpu.usage") { // which needs two scrapes
			t.Errorf("%s is in the table but not emitted", m.Name)
		}
		delete(emitted, m.Name)
	}
	for name := range emitted {
		t.Errorf("%s is emitted but not in the table", name)
	}
}
