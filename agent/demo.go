package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"stint/agent/workload"
	"stint/tail"
)

// demo writes container logs into a temporary directory and checks that the sink gets each of
// them once.
type demo struct {
	dir    string
	writer *workload.Writer
	seen   workload.Sequences
}

// Waves with pauses, so that the page shows both: lines on their way, and written = delivered.
const (
	demoWave  = time.Second
	demoPause = 4 * time.Second
	demoRate  = 2000 // lines a second
)

// newDemo turns cfg to a directory of its own.
func newDemo(cfg *Config) (*demo, error) {
	dir, err := os.MkdirTemp("", "stint-demo-")
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	d := &demo{dir: dir}
	w := workload.Defaults()
	w.Root = filepath.Join(dir, "pods")
	w.Containers, w.LinesPerSecond, w.Wave, w.Pause = 5, demoRate, demoWave, demoPause
	w.RotateBytes, w.RotateEvery = 512<<10, time.Second
	if d.writer, err = workload.New(w); err != nil {
		d.remove()
		return nil, fmt.Errorf("demo: %w", err)
	}
	cfg.StateDir = filepath.Join(dir, "state")
	cfg.Tail.Containers.Root = w.Root
	cfg.Tail.Files = nil
	cfg.Journald.Enabled = "false"
	cfg.Batch.Timeout = 200 * time.Millisecond // the page is watched
	return d, nil
}

// run writes until ctx ends, then waits a moment for the last lines to be read.
func (d *demo) run(ctx context.Context, t *tail.Tailer) error {
	err := d.writer.Run(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	if t == nil {
		return err
	}
	written, _ := d.writer.Written()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(3 * time.Second); t.Status().Read < written && time.Now().Before(deadline); {
		<-tick.C
	}
	return err
}

func (d *demo) remove() { os.RemoveAll(d.dir) }
