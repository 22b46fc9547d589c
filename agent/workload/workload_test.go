package workload

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tree is what a plain reader finds under a root.
type tree struct {
	records map[string][]uint64 // numbers by writer, in file order
	bytes   int64               // of log text, unpacked
	files   int
	zipped  int
	cut     int // records of several pieces
	split   int // of those, in two files
	between int // lines of the other stream between two pieces
}

// readTree reads every file, oldest first in each container, and joins pieces.
// It fails on anything that containerd would not have written.
func readTree(t *testing.T, root string) tree {
	t.Helper()
	got := tree{records: map[string][]uint64{}}
	dirs, err := filepath.Glob(filepath.Join(root, "*_*_*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(files) // rotated names sort by age; the live one goes last
		live := filepath.Join(dir, "0.log")
		files = append(slices.DeleteFunc(files, func(f string) bool { return f == live }), live)

		open := map[string][]byte{}     // body so far, by stream
		openedIn := map[string]string{} // the file with its first piece
		for i, file := range files {
			text := readLog(t, file)
			got.files++
			got.bytes += int64(len(text))
			if strings.HasSuffix(file, ".gz") {
				got.zipped++
			}
			last := time.Time{}
			for line := range bytes.Lines(text) {
				line, whole := bytes.CutSuffix(line, []byte("\n"))
				part := bytes.SplitN(line, []byte(" "), 4)
				if len(part) != 4 || !whole {
					t.Fatalf("%s: line %.80q", file, line)
				}
				at, err := time.Parse(time.RFC3339Nano, string(part[0]))
				if err != nil || !at.After(last) || string(part[0]) != at.Format(time.RFC3339Nano) {
					t.Fatalf("%s: time %s (%v) after %v", file, part[0], err, last)
				}
				last = at
				stream, tag, body := string(part[1]), string(part[2]), part[3]
				if stream != "stdout" && stream != "stderr" {
					t.Fatalf("%s: stream %q", file, stream)
				}
				if _, ok := open[otherStream(stream)]; ok && tag == "F" {
					got.between++
				}
				before, cont := open[stream]
				switch tag {
				case "P":
					if len(body) != 16384 {
						t.Fatalf("%s: piece of %d bytes", file, len(body))
					}
					if !cont {
						openedIn[stream] = file
					}
					open[stream] = append(before, body...)
					continue
				case "F":
					if len(body) > 16384 {
						t.Fatalf("%s: line of %d bytes", file, len(body))
					}
				default:
					t.Fatalf("%s: tag %q", file, tag)
				}
				if cont {
					body = append(before, body...)
					delete(open, stream)
					got.cut++
					if openedIn[stream] != file {
						got.split++
					}
				}
				if i == 0 && !bytes.HasPrefix(body, []byte("w=")) {
					continue // its first piece was in a file that is deleted
				}
				mark := strings.SplitN(string(body), " ", 3)
				writer := filepath.Base(dir) + "-" + stream
				n, err := strconv.ParseUint(strings.TrimPrefix(mark[1], "seq="), 10, 64)
				if mark[0] != "w="+writer || err != nil {
					t.Fatalf("%s: body %.60q, want the mark of %s", file, body, writer)
				}
				got.records[writer] = append(got.records[writer], n)
			}
		}
		if len(open) > 0 {
			t.Errorf("%s: a record has no end", dir)
		}
	}
	return got
}

func otherStream(stream string) string {
	if stream == "stdout" {
		return "stderr"
	}
	return "stdout"
}

func readLog(t *testing.T, path string) []byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var in io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(file); err != nil {
			t.Fatal(err)
		}
	}
	text, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// count fails unless every writer's numbers go up by one, from 1 if whole.
func (got tree) count(t *testing.T, whole bool) int64 {
	t.Helper()
	total := int64(0)
	for writer, numbers := range got.records {
		next := numbers[0]
		if whole {
			next = 1
		}
		for _, n := range numbers {
			if n != next {
				t.Fatalf("%s: %d where %d should be", writer, n, next)
			}
			next++
		}
		total += int64(len(numbers))
	}
	return total
}

func run(t *testing.T, ctx context.Context, cfg Config) *Writer {
	t.Helper()
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestEveryRecordIsThereOnceAndInOrder(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no rotation":         {Containers: 3, Lines: 5000},
		"rotation, as fast":   {Containers: 3, Lines: 8000, RotateBytes: 200 << 10, KeepFiles: 1000},
		"plain rotated files": {Containers: 2, Lines: 5000, RotateBytes: 100 << 10, KeepFiles: 1000, KeepPlain: true},
		"kubelet beside it":   {Containers: 4, Lines: 5000, LinesPerSecond: 10000, RotateBytes: 64 << 10, KeepFiles: 1000, RotateEvery: 20 * time.Millisecond},
		"waves":               {Containers: 2, Lines: 1000, LinesPerSecond: 10000, Wave: 40 * time.Millisecond, Pause: 20 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Root = t.TempDir()
			w := run(t, t.Context(), cfg)
			lines, size := w.Written()
			got := readTree(t, cfg.Root)
			if n := got.count(t, true); n != int64(cfg.Lines) || lines != n {
				t.Errorf("%d records in the files, Written says %d, want %d", n, lines, cfg.Lines)
			}
			if got.bytes != size {
				t.Errorf("%d bytes in the files, Written says %d", got.bytes, size)
			}
			if len(got.records) != 2*cfg.Containers {
				t.Errorf("writers %v, want two for each of %d containers", slices.Sorted(maps.Keys(got.records)), cfg.Containers)
			}
			if got.cut == 0 && cfg.Lines >= 8000 { // one of 1,000 is: eight are expected, and none comes once in 3,000 runs
				t.Error("no record has several pieces")
			}
			if cfg.RotateBytes == 0 {
				return
			}
			if got.split == 0 {
				t.Error("no record has pieces in two files")
			}
			wantFiles := 3 * cfg.Containers
			least := got.files - 2*cfg.Containers // all but the live and the newest rotated one
			most := least
			switch {
			case cfg.KeepPlain:
				least, most = 0, 0
			case cfg.RotateEvery > 0:
				most += cfg.Containers // the end may come when that one is compressed already
				wantFiles = 2*cfg.Containers + 1
			}
			if got.files < wantFiles || got.zipped < least || got.zipped > most {
				t.Errorf("%d files, %d compressed, want %d files or more, %d to %d compressed", got.files, got.zipped, wantFiles, least, most)
			}
		})
	}
}

func TestStreamsInterleave(t *testing.T) {
	root := t.TempDir()
	run(t, t.Context(), Config{Root: root, Containers: 1, Lines: 30000})
	got := readTree(t, root)
	got.count(t, true)
	if got.between == 0 {
		t.Error("no line of one stream stands between two pieces of the other")
	}
	out, err := len(got.records["c000-stdout"]), len(got.records["c000-stderr"])
	if share := 100 * out / (out + err); share < 75 || share > 85 {
		t.Errorf("%d %% of the records are stdout's, want about 80", share)
	}
}

func TestExcessFilesAreDeleted(t *testing.T) {
	root := t.TempDir()
	run(t, t.Context(), Config{Root: root, Containers: 2, Lines: 5000, RotateBytes: 60 << 10, KeepFiles: 5})
	got := readTree(t, root)
	if got.files != 10 || got.zipped != 6 {
		t.Errorf("%d files, %d compressed, want 10 and 6", got.files, got.zipped)
	}
	if n := got.count(t, false); n >= 5000 {
		t.Errorf("all %d records are there, want the older ones deleted", n)
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	c := container{live: filepath.Join(dir, "0.log")}
	for _, name := range []string{
		"0.log", "0.log.20261122-154600.gz", "0.log.20261122-154611", "0.log.20261122-154622", "0.log.20261122-154622.gz",
		"0.log.20261122-154633.tmp", "0.log.20261122-154644",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.cleanUp(t.Context(), Config{KeepFiles: 5}); err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, strings.TrimPrefix(e.Name(), "0.log.20261122-1546"))
	}
	if got, want := fmt.Sprint(names), "[0.log 11.gz 22.gz 44.gz]"; got != want {
		t.Errorf("files are %s, want %s", got, want)
	}
}

func TestRunStopsWithItsContext(t *testing.T) {
	for name, cfg := range map[string]Config{
		"fast":          {Containers: 2, RotateBytes: 1 << 20, KeepFiles: 5, RotateEvery: time.Millisecond},
		"with rotation": {Containers: 2, RotateBytes: 1 << 20, KeepFiles: 5},
		"paced":         {Containers: 2, LinesPerSecond: 10000},
		"pausing":       {Containers: 2, Wave: time.Microsecond, Pause: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Root = t.TempDir()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			start := time.Now()
			run(t, ctx, cfg)
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("Run took %v", took)
			}
			readTree(t, cfg.Root).count(t, false)
		})
	}
}

func TestLinesDue(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg     Config
		elapsed time.Duration
		total   int
		want    int
	}{
		"pace":                {cfg: Config{LinesPerSecond: 1000}, elapsed: 2 * time.Second, total: 1990, want: 10},
		"nothing yet":         {cfg: Config{LinesPerSecond: 10}, elapsed: 90 * time.Millisecond},
		"ahead":               {cfg: Config{LinesPerSecond: 1000}, elapsed: time.Second, total: 1003},
		"held up":             {cfg: Config{LinesPerSecond: 1000}, elapsed: time.Minute, total: 10000, want: 1000},
		"under one a second":  {cfg: Config{LinesPerSecond: 1}, elapsed: time.Minute, want: 1},
		"in a wave":           {cfg: Config{LinesPerSecond: 1000, Wave: time.Second, Pause: time.Second}, elapsed: 2100 * time.Millisecond, total: 1000, want: 100},
		"in a pause":          {cfg: Config{LinesPerSecond: 1000, Wave: time.Second, Pause: time.Second}, elapsed: 1500 * time.Millisecond, total: 1000},
		"no pace":             {cfg: Config{}, elapsed: time.Second, total: 5, want: fastLines},
		"no pace, in a pause": {cfg: Config{Wave: time.Second, Pause: time.Second}, elapsed: 1500 * time.Millisecond},
		"the last ones":       {cfg: Config{Lines: 3}, elapsed: time.Second, want: 3},
	} {
		t.Run(name, func(t *testing.T) {
			tc.cfg.Root, tc.cfg.Containers = "unused", 1
			w, err := New(tc.cfg)
			if err != nil {
				t.Fatal(err)
			}
			w.total = tc.total
			if got := w.linesDue(tc.elapsed); got != tc.want {
				t.Errorf("linesDue(%v) after %d lines = %d, want %d", tc.elapsed, tc.total, got, tc.want)
			}
		})
	}
}

func TestClock(t *testing.T) {
	var k clock
	for _, ns := range []int64{0, 1, 100, 999999999, 1e9, 1763833496123456789, 1763833496120000000, 1763833497000000000} {
		want := time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
		if got := string(k.append(nil, ns)); got != want {
			t.Errorf("time %d is written %s, want %s", ns, got, want)
		}
	}
}

func TestExistingFilesAreRefused(t *testing.T) {
	cfg := Config{Root: t.TempDir(), Containers: 1, Lines: 1}
	run(t, t.Context(), cfg)
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "root of its own") {
		t.Errorf("second Run in the same root: %v, want it refused", err)
	}
}

func TestCheckTellsAllFaults(t *testing.T) {
	_, err := New(Config{LinesPerSecond: -1, RotateBytes: 1, KeepFiles: 1, Wave: time.Second, RotateEvery: -1})
	if err == nil {
		t.Fatal("New takes it")
	}
	for _, want := range []string{"root", "containers", "lines per second", "keep files", "rotate every", "wave and pause"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %q", err, want)
		}
	}
	if err := Defaults().Check(); err == nil || strings.Count(err.Error(), "\n") != 0 {
		t.Errorf("Defaults().Check() = %v, want only the root missing", err)
	}
}
