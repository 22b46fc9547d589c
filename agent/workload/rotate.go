package workload

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Rotation in the order of pkg/kubelet/logs/container_log_manager.go (v1.37.2):
//
//  1. remove leftovers: .tmp files, and plain files that have a .gz twin
//  2. delete the oldest rotated files until KeepFiles-2 are left
//  3. compress every plain rotated file: write <name>.tmp, rename it to
//     <name>.gz, remove <name>
//  4. rename the live file to 0.log.YYYYMMDD-HHMMSS
//  5. tell the container runtime to reopen: until then it writes to the
//     renamed file
//
// So the newest rotated file is plain until the next rotation.
// Steps 1 to 3 do not touch the live file: cleanUp. Steps 4 and 5: rotate.
const (
	stampLayout = "20060102-150405" // local time, as the kubelet has it
	gzSuffix    = ".gz"
	tmpSuffix   = ".tmp"
)

func (w *Writer) tooLarge(c *container) bool {
	return w.cfg.RotateBytes > 0 && c.size > w.cfg.RotateBytes
}

// checkSizes hands containers whose file is too large to the goroutine that
// cleans up. The channel holds all containers, so it never blocks.
func (w *Writer) checkSizes() {
	for _, c := range w.containers {
		if !c.rotating && w.tooLarge(c) {
			c.rotating = true
			w.due <- c
		}
	}
}

// rotateReady rotates the containers that are cleaned up.
func (w *Writer) rotateReady() error {
	for {
		select {
		case c := <-w.ready:
			c.rotating = false
			if c.err != nil {
				return c.err
			}
			if err := w.rotate(c); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// cleanUp removes leftovers and excess files of c and compresses the rest.
func (c *container) cleanUp(ctx context.Context, cfg Config) error {
	rotated, err := c.removeLeftovers()
	if err != nil {
		return err
	}
	excess := max(len(rotated)-(cfg.KeepFiles-2), 0)
	for _, path := range rotated[:excess] {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if cfg.KeepPlain {
		return nil
	}
	for _, path := range rotated[excess:] {
		if !strings.HasSuffix(path, gzSuffix) {
			if err := compress(ctx, path); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeLeftovers returns the rotated files that are in use, oldest first.
func (c *container) removeLeftovers() ([]string, error) {
	found, err := filepath.Glob(c.live + ".*")
	if err != nil {
		return nil, err
	}
	var used []string
	for _, path := range found {
		if strings.HasSuffix(path, tmpSuffix) || slices.Contains(found, path+gzSuffix) {
			if err := os.Remove(path); err != nil {
				return nil, err
			}
			continue
		}
		used = append(used, path)
	}
	slices.Sort(used)
	return used, nil
}

func compress(ctx context.Context, path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp := path + tmpSuffix
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			out.Close()
			os.Remove(tmp)
		}
	}()
	zip := gzip.NewWriter(out)
	if _, err := io.Copy(zip, untilDone{ctx, in}); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp, path+gzSuffix); err != nil {
		return err
	}
	return os.Remove(path)
}

// untilDone reads until the context ends, so that a stop does not wait for
// files to be compressed.
type untilDone struct {
	ctx context.Context
	in  io.Reader
}

func (r untilDone) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.in.Read(p)
}

// rotate renames the live file and opens a new one. What is written between
// the two goes to the renamed file; every other time that is the first piece
// of a record whose other pieces go to the new file.
func (w *Writer) rotate(c *container) error {
	if err := os.Rename(c.live, c.rotatedName()); err != nil {
		return err
	}
	c.rotations++

	var rest []byte
	s := &c.streams[w.rng.Uint64()&1]
	w.buf = w.buf[:0]
	switch {
	case w.left == 0:
	case c.rotations%2 == 1:
		w.buf, rest = w.appendPiece(w.buf, s, w.newCutBody(s))
		if err := w.flush(c, 0); err != nil {
			return err
		}
	default:
		if err := w.writeLines(c, 1); err != nil {
			return err
		}
	}

	file, err := os.OpenFile(c.live, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	c.file.Close()
	c.file, c.size = file, 0

	if rest == nil {
		return nil
	}
	for len(rest) > 0 {
		w.buf, rest = w.appendPiece(w.buf, s, rest)
	}
	return w.flush(c, 1)
}

// rotatedName is the live file's next name. Names have a resolution of one
// second; when a file rotates sooner than that, the next second is taken, so
// that no name comes twice and their order stays the order of writing.
func (c *container) rotatedName() string {
	now := time.Now().Truncate(time.Second)
	if !now.After(c.stamp) {
		now = c.stamp.Add(time.Second)
	}
	c.stamp = now
	return c.live + "." + now.Format(stampLayout)
}
