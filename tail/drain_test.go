package tail

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stint/export/otlp"
)

// BenchmarkDrain reads a backlog of 64 MiB in 4 containers to its end and throws the chunks
// away: what finding, reading, parsing and encoding cost together.
func BenchmarkDrain(b *testing.B) {
	root := b.TempDir()
	line := "2026-11-22T17:44:56.123456789Z stdout F " + strings.Repeat("the quick brown fox ", 10) + "\n"
	text := []byte(strings.Repeat(line, 16<<20/len(line)))
	for i := range 4 {
		dir := filepath.Join(root, fmt.Sprintf("ns_pod-%d_0e1f/main", i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "0.log"), text, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	total := int64(4 * len(text))
	b.SetBytes(total)
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithCancel(context.Background())
		var mu sync.Mutex
		lines := 0
		t, err := New(Options{
			Config: Config{Containers: Containers{Root: root}, MaxLineBytes: 1 << 20}, StateDir: b.TempDir(),
			Pool: otlp.NewPool(8<<20, nil), Workers: 1, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Out: func(c *otlp.Chunk) {
				mu.Lock()
				if lines += c.Records; lines == int(total)/len(line) {
					cancel()
				}
				mu.Unlock()
				c.Settle(otlp.Delivered)
			},
		})
		if err != nil {
			b.Fatal(err)
		}
		time.AfterFunc(20*time.Second, cancel)
		t.Run(ctx)
		if s := t.Status(); s.Delivered != total/int64(len(line)) {
			b.Fatalf("delivered %d of %d: %+v", s.Delivered, total/int64(len(line)), s)
		}
		t.Close()
	}
}
