package kubelet

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

// What a container uses is set against the CPUs that are online and the memory of the machine.
func TestShareOfNode(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(root+"/proc", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"stat":    "cpu  1 2 3\ncpu0 1 2 3\ncpu1 1 2 3\ncpu3 1 2 3\nintr 1\ncpufreq 1\n",
		"meminfo": "MemTotal:        1048576 kB\nMemFree:          1 kB\n",
	} {
		if err := os.WriteFile(root+"/proc/"+name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cfg := everything()
	cfg.RootPath = root
	r := newRig(t, cfg, nil, capturedPods(t)...)
	if r.capacity.read(); r.capacity.cpus != 3 || r.capacity.memory != 1<<30 {
		t.Fatalf("%v CPUs, %v bytes, want 3 and 1 GiB", r.capacity.cpus, r.capacity.memory)
	}
	r.poll(day(captures["t2"]), captured(t, "stats_summary.t2.json"))
	f := r.poll(day(captures["busy"]), captured(t, "stats_summary.busy.json"))
	for _, name := range []string{"container.memory.usage", "k8s.pod.memory.usage"} {
		share := strings.TrimSuffix(name, "usage") + "node.utilization"
		if !strings.HasPrefix(share, "k8s.") {
			share = "k8s." + share
		}
		used, shares := f.of(name), f.of(share)
		if len(used) == 0 || len(used) != len(shares) {
			t.Fatalf("%d of %s, %d of %s", len(used), name, len(shares), share)
		}
		for i := range used {
			var bytes, got float64
			if _, err := fmt.Sscanf(used[i], "{} %g", &bytes); err != nil {
				t.Fatalf("%q: %v", used[i], err)
			}
			if _, err := fmt.Sscanf(shares[i], "{} %g", &got); err != nil || math.Abs(got-bytes/(1<<30)) > 1e-9 || got == 0 {
				t.Errorf("%s is %q, of %q (%v)", share, shares[i], used[i], err)
			}
		}
	}
	if err := os.RemoveAll(root + "/proc"); err != nil {
		t.Fatal(err)
	}
	r.capacity.close()
	f = r.poll(day(captures["after"]), captured(t, "stats_summary.after.json"))
	if n := len(f.of("k8s.pod.memory.node.utilization")); n != 0 {
		t.Errorf("%d shares of a node whose memory is unknown", n)
	}
}
