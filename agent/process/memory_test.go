package process

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
)

// tree writes files below a new directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCgroupMemoryLimit(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  int64
		bad   bool
	}{
		"v2":                      {files: map[string]string{"self/cgroup": "0::/a/b\n", "fs/cgroup.controllers": "memory", "fs/a/b/memory.max": "67108864\n"}, want: 64 << 20},
		"v2, limit above":         {files: map[string]string{"self/cgroup": "0::/a/b\n", "fs/cgroup.controllers": "memory", "fs/a/b/memory.max": "max\n", "fs/a/memory.max": "1048576\n"}, want: 1 << 20},
		"v2, none":                {files: map[string]string{"self/cgroup": "0::/a\n", "fs/cgroup.controllers": "memory", "fs/a/memory.max": "max\n"}},
		"v2, in a container":      {files: map[string]string{"self/cgroup": "0::/\n", "fs/cgroup.controllers": "memory", "fs/memory.max": "1000\n"}, want: 1000},
		"v2, path of the host":    {files: map[string]string{"self/cgroup": "0::/kubepods/pod1/c1\n", "fs/cgroup.controllers": "memory", "fs/memory.max": "1000\n"}, want: 1000},
		"v1":                      {files: map[string]string{"self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/a\n", "fs/memory/a/memory.limit_in_bytes": "2000\n", "fs/memory/memory.limit_in_bytes": "9223372036854771712\n"}, want: 2000},
		"v1, none":                {files: map[string]string{"self/cgroup": "4:memory:/\n", "fs/memory/memory.limit_in_bytes": "9223372036854771712\n"}},
		"hybrid, memory under v1": {files: map[string]string{"self/cgroup": "4:memory:/a\n0::/a\n", "fs/memory/a/memory.limit_in_bytes": "3000\n", "fs/unified/a/cgroup.procs": ""}, want: 3000},
		"garbage":                 {files: map[string]string{"self/cgroup": "0::/\n", "fs/cgroup.controllers": "memory", "fs/memory.max": "lots\n"}, bad: true},
		"no cgroups":              {files: map[string]string{"fs/x": ""}, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			root := tree(t, tc.files)
			got, err := cgroupMemoryLimit(filepath.Join(root, "self"), filepath.Join(root, "fs"))
			if got != tc.want || (err != nil) != tc.bad {
				t.Errorf("got %d, %v, want %d", got, err, tc.want)
			}
		})
	}
}

func TestMemoryMarksNarrowThePools(t *testing.T) {
	cfg := MemoryLimiterDefaults()
	cfg.LimitMiB = 100
	cfg.CheckInterval = time.Second
	t.Setenv("GOMEMLIMIT", "off") // the test's own process keeps its limit
	m, err := NewMemory(cfg, Sizes{Base: 20 << 20, Logs: 24 << 20, Metrics: 8 << 20, MetricSlab: 32 << 10, GCPercent: 100}, func() {}, func() {}, slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if m.Hard != 100<<20/100*80 || m.soft != 100<<20/100*55 {
		t.Errorf("hard %d, soft %d, want 80 and 55 MiB", m.Hard>>20, m.soft>>20)
	}
	free := m.Logs.Limit()
	for _, step := range []struct{ used, limit int64 }{
		{m.soft, free}, {m.soft + 1, 2 * otlp.SlabSize}, {m.Hard + 1, 0}, {m.soft + 1, 2 * otlp.SlabSize}, {m.soft, free},
	} {
		m.check(step.used+m.Hard, m.Hard) // garbage does not count
		if got := m.Logs.Limit(); got != step.limit {
			t.Errorf("at %d of %d bytes the pool may have %d, want %d", step.used, m.Hard, got, step.limit)
		}
	}
	if m.Logs.Limit()+m.Metrics.Limit() > m.soft {
		t.Errorf("pools of %d and %d over the soft limit %d", m.Logs.Limit(), m.Metrics.Limit(), m.soft)
	}
}
