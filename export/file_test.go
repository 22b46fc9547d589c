package export

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protojson"

	"stint/export/otlp"
)

var smallFiles = Rotation{MaxMegabytes: 1, MaxBackups: 3}

// bodiesIn reads the first words of the bodies of all log records in files of OTLP JSON lines.
func bodiesIn(t *testing.T, files ...string) (all []string) {
	t.Helper()
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s := bufio.NewScanner(f)
		s.Buffer(nil, 64<<20)
		for s.Scan() {
			var m logspb.LogsData
			if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(s.Bytes(), &m); err != nil {
				t.Errorf("%s: %v in %.200s", name, err, s.Bytes())
				continue
			}
			for _, rl := range m.ResourceLogs {
				for _, sl := range rl.ScopeLogs {
					for _, l := range sl.LogRecords {
						id, _, _ := strings.Cut(l.Body.GetStringValue(), " ")
						all = append(all, id)
					}
				}
			}
		}
		if s.Err() != nil {
			t.Error(s.Err())
		}
	}
	return all
}

// asideOf are the files that were put aside, the oldest first, and the one that is written.
func asideOf(t *testing.T, path string) []string {
	t.Helper()
	ext := filepath.Ext(path)
	aside, err := filepath.Glob(strings.TrimSuffix(path, ext) + "-*" + ext)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(aside)
	return append(aside, path)
}

// Every record is in the files, in order, however often these are put aside.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	x := Exporters{"file": &File{Path: path, Rotation: Rotation{MaxMegabytes: 1, MaxBackups: 100}}}
	b := BatchDefaults()
	b.SendBatchMaxBytes = 256 << 10
	e, _ := newExporting(t, b, x, silent)
	s := newSource(t)
	var chunks []*otlp.Chunk
	for range 20 {
		chunks = append(chunks, s.logs("a", 100, 1000))
	}
	deliver(t, e, chunks...)
	s.want(20, 0, 0)
	files := asideOf(t, path)
	if got := bodiesIn(t, files...); !slices.Equal(got, names("a", 0, 2000)) {
		t.Errorf("%d records are in the files, or in another order", len(got))
	}
	if len(files) < 2 || len(files) > 6 {
		t.Errorf("there are %d files: %q", len(files), files)
	}
	for _, f := range files {
		if fi, err := os.Stat(f); err != nil || fi.Size() > 1<<20 || fi.Mode() != 0o640 {
			t.Errorf("%s: %v, %v", f, fi, err)
		}
	}
}

// All signals go into one file, each request a line that holds what was sent.
func TestFileSignals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	f := newFile(&File{Path: path, Rotation: smallFiles})
	defer f.close()
	for _, r := range everything(t) {
		if v := f.send(t.Context(), r); v.Kind != OK {
			t.Errorf("%s: %v", r.signal, v.Err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for l := range strings.Lines(string(b)) {
		var m map[string]any
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			t.Fatal(err)
		}
		for k := range m {
			keys = append(keys, k)
		}
	}
	if want := []string{"resourceLogs", "resourceMetrics", "resourceSpans"}; !slices.Equal(keys, want) {
		t.Errorf("lines of %q, want %q", keys, want)
	}
}

// Only so many files that were put aside stay, and none for too long; what somebody else put there stays.
func TestFilePrunes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.jsonl")
	for _, name := range []string{"out-2020-01-01T00-00-00.000.jsonl", "out-mine.jsonl", "other-2020-01-01T00-00-00.000.jsonl"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := &lineFile{path: path, rotation: Rotation{MaxMegabytes: 1, MaxDays: 1, MaxBackups: 2}}
	defer l.close()
	line := append([]byte(strings.Repeat("x", 700<<10)), '\n')
	for range 5 {
		if err := l.write(t.Context(), line); err != nil {
			t.Fatal(err)
		}
	}
	var left []string
	for _, f := range asideOf(t, path) {
		left = append(left, filepath.Base(f))
	}
	if len(left) != 4 || !slices.Contains(left, "out-mine.jsonl") || slices.Contains(left, "out-2020-01-01T00-00-00.000.jsonl") {
		t.Errorf("files left: %q", left)
	}
	if !exists(filepath.Join(dir, "other-2020-01-01T00-00-00.000.jsonl")) {
		t.Error("another's file is gone")
	}
}

// A line that a dying machine cut short stays one broken line; one that logrotate moved away is followed by a new file.
func TestFileTornAndMoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	if err := os.WriteFile(path, []byte("{}\n{\"half"), 0o640); err != nil {
		t.Fatal(err)
	}
	l := &lineFile{path: path, rotation: smallFiles}
	defer l.close()
	write := func(s string) {
		t.Helper()
		if err := l.write(t.Context(), []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(p string) string {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	write("1\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("2\n")
	if got := read(path+".1") + "|" + read(path); got != "{}\n{\"half\n1\n|2\n" {
		t.Errorf("the files hold %q", got)
	}
}

// A full disk holds the data up and costs nothing: no half lines, and it goes on when there is room.
func TestFileFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts a small tmpfs: needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	path, filler := filepath.Join(dir, "out.jsonl"), filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	x := Exporters{"file": &File{Path: path, Rotation: smallFiles}}
	b := BatchDefaults()
	b.SendBatchSize = 50
	e, _ := newExporting(t, b, x, silent)
	e.outs["file"].retry = fast
	s := newSource(t)
	for range 4 {
		e.Input(otlp.Logs, "test")(s.logs("a", 50, 1000))
	}
	e.CloseInput()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	for statusOf(t, e, otlp.Logs).Down == "" && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	<-done
	s.want(4, 0, 0)
	if got := bodiesIn(t, path); !slices.Equal(got, names("a", 0, 200)) {
		t.Errorf("%d records are in the file, or in another order", len(got))
	}
}

func BenchmarkFile(b *testing.B) {
	s := newSource(b)
	c := s.logs("a", 10_000, 200)
	r := newRequest(otlp.Logs, []*otlp.Chunk{c})
	f := newFile(&File{Path: filepath.Join(b.TempDir(), "out.jsonl"), Rotation: Rotation{MaxMegabytes: 100, MaxBackups: 1}})
	defer f.close()
	_, size := r.buffers()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if v := f.send(b.Context(), r); v.Kind != OK {
			b.Fatal(v.Err)
		}
	}
	c.Settle(otlp.Delivered)
}

// A pipe that nobody reads does not keep an attempt, and with it the end of the process, for ever; who reads it
// later finds whole lines.
func TestPipeThatNobodyReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFile(&File{Path: path, Rotation: Rotation{MaxMegabytes: 1, MaxBackups: 1}})
	defer f.close()
	s := newSource(t)
	c := s.logs("a", 100, 10_000) // a pipe takes 64 KiB
	r := newRequest(otlp.Logs, []*otlp.Chunk{c})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan Verdict, 1)
	go func() { done <- f.send(ctx, r) }()
	pipe, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // until a part of the line lies in it
		n, err := unix.IoctlGetInt(int(pipe.Fd()), unix.TIOCINQ)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("nothing is written: %v", err)
		}
		if n > 0 {
			break
		}
	}
	cancel()
	select {
	case v := <-done:
		if v.Kind != Again {
			t.Errorf("the verdict is %v", v)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end with its context")
	}
	go func() { done <- f.send(t.Context(), r) }()
	read := bufio.NewReader(pipe)
	if part, err := read.ReadString('\n'); err != nil || len(part) >= 1<<20 {
		t.Errorf("%d bytes of a line that was given up, %v", len(part), err)
	}
	if line, err := read.ReadBytes('\n'); err != nil || !json.Valid(line) {
		t.Errorf("a line of %d bytes is no JSON, %v", len(line), err)
	}
	if v := <-done; v.Kind != OK {
		t.Errorf("the verdict is %v", v)
	}
	c.Settle(otlp.Delivered)
}
