// Package workload writes container logs the way the kubelet and containerd
// do, with numbered records, and accounts for those that come out at the far
// end. The demo, the crash test and the benchmarks use it.
package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Config says what is written, how fast, and how files rotate.
type Config struct {
	Root           string        // becomes <Root>/<ns>_<pod>_<uid>/<container>/0.log
	Containers     int           // one pod and one log file each
	LinesPerSecond int           // over all containers; 0 = as fast as possible
	Lines          int           // records in the whole run; 0 = until the context ends
	RotateBytes    int64         // a live file over this size is rotated; 0 = never
	KeepFiles      int           // files a container may have, the live one included
	KeepPlain      bool          // rotated files are not compressed; the kubelet always compresses
	RotateEvery    time.Duration // how often sizes are checked; 0 = after every write
	Wave, Pause    time.Duration // write for Wave, nothing for Pause, and again; 0 = steadily
	Seed           uint64        // same seed, same names and texts
}

// Defaults is a node with 20 containers under the kubelet's default rotation.
func Defaults() Config {
	return Config{
		Containers:     20,
		LinesPerSecond: 1000,
		RotateBytes:    10 << 20,
		KeepFiles:      5,
		RotateEvery:    10 * time.Second,
	}
}

// Check reports every fault at once.
func (c Config) Check() error {
	var errs []error
	if c.Root == "" {
		errs = append(errs, errors.New("root: empty; name a directory"))
	}
	if c.Containers < 1 || c.Containers > 10000 {
		errs = append(errs, fmt.Errorf("containers: %d is not in 1..10000", c.Containers))
	}
	if c.LinesPerSecond < 0 || c.Lines < 0 || c.RotateBytes < 0 {
		errs = append(errs, errors.New("lines per second, lines, rotate bytes: must not be negative"))
	}
	if c.RotateBytes > 0 && c.KeepFiles < 2 {
		errs = append(errs, fmt.Errorf("keep files: %d; rotation needs 2 or more", c.KeepFiles))
	}
	if c.RotateEvery < 0 || c.Wave < 0 || c.Pause < 0 {
		errs = append(errs, errors.New("rotate every, wave, pause: must not be negative"))
	}
	if (c.Wave == 0) != (c.Pause == 0) {
		errs = append(errs, errors.New("wave and pause: give both or none"))
	}
	return errors.Join(errs...)
}

const (
	// tickEvery is the pace of writing: what is due is written in one
	// write(2) a container at each tick.
	tickEvery = 10 * time.Millisecond
	// fastLines are written to one container at a time when there is no pace:
	// about 64 KiB.
	fastLines = 200
	// maxCatchUp bounds what a writer that was held up makes good at once.
	maxCatchUp = time.Second
)

// Writer writes the logs of all containers from one goroutine.
//
// Each record's body starts with "w=<writer> seq=<n> ", where writer names a
// container and a stream (c017-stdout) and n counts from 1 without gaps, so a
// reader can tell what is lost, repeated or out of order (see Sequences). A
// body over 16 KiB is cut into P pieces and an F, as containerd does, and the
// other stream may write in between.
//
// Rotation is the kubelet's, see rotate.go. Compressing goes on in a second
// goroutine meanwhile the container writes on; the live file is touched by the
// writing goroutine alone. Every other rotation falls between two pieces of a
// record.
type Writer struct {
	cfg        Config
	containers []*container
	texts      texts
	rng        *rand.PCG
	clock      clock

	left  int // records still to write; unlimited when negative
	total int // records begun; with a pace also those that it was too late for
	next  int // container that gets the first of the odd records
	buf   []byte
	body  []byte // a body that is going to be cut

	due, ready chan *container // to and from the goroutine that compresses

	lines, bytes atomic.Int64
}

// container is one log file with its two streams.
type container struct {
	live    string // path of 0.log
	file    *os.File
	size    int64 // bytes in file
	streams [2]stream

	rotating  bool      // its rotated files are being compressed
	err       error     // what came of that
	stamp     time.Time // in the name of its newest rotated file
	rotations int
}

// stream is one of stdout and stderr of a container.
type stream struct {
	full, partial string // what stands between the time and the body
	mark          string // "w=c017-stdout seq="
	seq           uint64 // of the last record
}

// New checks cfg and prepares a writer; it touches no file.
func New(cfg Config) (*Writer, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("workload: %w", err)
	}
	w := &Writer{
		cfg:   cfg,
		rng:   rand.NewPCG(cfg.Seed, 0),
		left:  -1,
		due:   make(chan *container, cfg.Containers),
		ready: make(chan *container, cfg.Containers),
	}
	if cfg.Lines > 0 {
		w.left = cfg.Lines
	}
	w.texts = newTexts(rand.New(w.rng))
	for i := range cfg.Containers {
		name := fmt.Sprintf("c%03d", i)
		pod := fmt.Sprintf("load_%s-%03d_%s", podNames[i%len(podNames)], i, newUID(w.rng))
		c := &container{live: filepath.Join(cfg.Root, pod, name, "0.log")}
		for s, stream := range []string{"stdout", "stderr"} {
			c.streams[s].full = " " + stream + " F "
			c.streams[s].partial = " " + stream + " P "
			c.streams[s].mark = "w=" + name + "-" + stream + " seq="
		}
		w.containers = append(w.containers, c)
	}
	return w, nil
}

var podNames = [...]string{"checkout", "ledger", "web", "search-indexer", "mailer"}

// newUID makes a random UUID.
func newUID(rng *rand.PCG) string {
	a, b := rng.Uint64(), rng.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>52, b&(1<<48-1))
}

// Written tells how many records and how many bytes of log file, CRI headers
// included, have been written. A record in several pieces counts once, with its
// last piece. It may be called while Run runs.
func (w *Writer) Written() (lines, bytes int64) {
	return w.lines.Load(), w.bytes.Load()
}

// Run writes until ctx ends or Lines are written. It stops between two records,
// and leaves the files where they are. It may be called once.
func (w *Writer) Run(ctx context.Context) error {
	defer w.closeFiles()
	for _, c := range w.containers {
		if err := c.create(); err != nil {
			return fmt.Errorf("workload: %w", err)
		}
	}

	cleaning, stopCleaning := context.WithCancel(ctx)
	var kubelet sync.WaitGroup
	kubelet.Go(func() {
		for c := range w.due {
			c.err = c.cleanUp(cleaning, w.cfg)
			w.ready <- c
		}
	})
	err := w.writeAll(ctx)
	stopCleaning()
	close(w.due)
	kubelet.Wait()

	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("workload: %w", err)
	}
	return nil
}

// create makes the directory and the first live file. An existing file is
// refused: its numbers would be written a second time.
func (c *container) create() error {
	if err := os.MkdirAll(filepath.Dir(c.live), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(c.live, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("%w: each run needs a root of its own", err)
	}
	c.file = file
	return nil
}

func (w *Writer) closeFiles() {
	for _, c := range w.containers {
		if c.file != nil {
			c.file.Close()
		}
	}
}

// writeAll is the loop: what is due, then the rotations that are ready.
func (w *Writer) writeAll(ctx context.Context) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	start, checked := time.Now(), time.Now()

	for w.left != 0 && ctx.Err() == nil {
		n := w.linesDue(time.Since(start))
		if n == 0 {
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
		if err := w.writeRound(ctx, n); err != nil {
			return err
		}
		if w.cfg.RotateEvery > 0 && time.Since(checked) >= w.cfg.RotateEvery {
			checked = time.Now()
			w.checkSizes()
		}
		if err := w.rotateReady(); err != nil {
			return err
		}
	}
	return nil
}

// linesDue is the number of records to write after so much time; 0 = wait.
func (w *Writer) linesDue(elapsed time.Duration) int {
	active := elapsed
	if w.cfg.Wave > 0 {
		period := w.cfg.Wave + w.cfg.Pause
		active = elapsed/period*w.cfg.Wave + min(elapsed%period, w.cfg.Wave)
		if w.cfg.LinesPerSecond == 0 && elapsed%period >= w.cfg.Wave {
			return 0
		}
	}
	n := fastLines * len(w.containers)
	if rate := w.cfg.LinesPerSecond; rate > 0 {
		due := int(active.Seconds() * float64(rate))
		n = max(due-w.total, 0)
		if most := max(int(maxCatchUp.Seconds()*float64(rate)), 1); n > most {
			w.total += n - most // the rest is forgotten
			n = most
		}
	}
	if w.left >= 0 {
		n = min(n, w.left)
	}
	return n
}

// writeRound spreads n records over the containers, with one write(2) each.
func (w *Writer) writeRound(ctx context.Context, n int) error {
	each, odd := n/len(w.containers), n%len(w.containers)
	for range min(n, len(w.containers)) {
		c := w.containers[w.next]
		w.next = (w.next + 1) % len(w.containers)
		lines := each
		if odd > 0 {
			odd--
			lines++
		}
		if err := w.writeLines(c, lines); err != nil {
			return err
		}
		if w.cfg.RotateEvery == 0 && w.tooLarge(c) {
			if err := c.cleanUp(ctx, w.cfg); err != nil {
				return err
			}
			if err := w.rotate(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeLines writes about n records to c: one that comes between the pieces of
// another is one more.
func (w *Writer) writeLines(c *container, n int) error {
	w.buf = w.buf[:0]
	before := w.total
	for w.total-before < n && w.left != 0 {
		w.buf = w.appendRecord(w.buf, c)
	}
	return w.flush(c, w.total-before)
}

// flush writes the buffer, which completes so many records.
func (w *Writer) flush(c *container, records int) error {
	n, err := c.file.Write(w.buf)
	c.size += int64(n)
	w.bytes.Add(int64(n))
	w.buf = w.buf[:0]
	if err != nil {
		return err
	}
	w.lines.Add(int64(records))
	return nil
}
