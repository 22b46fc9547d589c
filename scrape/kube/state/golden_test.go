package state

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden compares a text with a file, which is compressed.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden.gz")
	if *update {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		io.WriteString(z, got)
		z.Close()
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(unzip(t, file)), got); diff != "" {
		t.Errorf("differs from %s (-want +got; run go test -update after a look at it with zless):\n%s", file, diff)
	}
}

// everything turns all metrics on.
func everything() Config {
	cfg := Defaults()
	cfg.Names = Both
	cfg.SkipEmptyReplicaSets = false
	cfg.NodeConditionsToReport = []string{"*"}
	cfg.Labels, cfg.Annotations = map[string][]string{}, map[string][]string{}
	for kind := range generics {
		cfg.Labels[kind], cfg.Annotations[kind] = []string{"*", "*/*"}, []string{"*", "*/*"}
	}
	cfg.Metrics = map[string]Switch{}
	for i := range table[1:] {
		cfg.Metrics[table[i+1].Name] = Switch{true}
	}
	return cfg
}

func capturedCluster(t testing.TB) *apiServer {
	a := newAPIServer(t)
	for i := range kinds {
		if _, err := os.Stat(filepath.Join("testdata/apiserver", kinds[i].name+".json.gz")); err != nil {
			continue // there was none
		}
		a.captured(kinds[i].name)
	}
	return a
}

// The captured objects, through a real reflector.
func TestGolden(t *testing.T) {
	for name, cfg := range map[string]Config{
		"k8s_cluster": Defaults(),
		"semconv":     func() Config { c := Defaults(); c.Names = SemConv; return c }(),
		"everything":  everything(),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, cfg, capturedCluster(t))
			first := r.interval().text()
			golden(t, name, first)
			again := r.interval().text()
			if diff := cmp.Diff(first, again); diff != "" {
				t.Errorf("the second interval differs:\n%s", diff)
			}
			if strings.Contains(r.logged.String(), "level=") {
				t.Errorf("logged:\n%s", r.logged)
			}
		})
	}
}
