package tail

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	treeLine = regexp.MustCompile(`(?s)^(\S+) (stdout|stderr) ([PF]) (.*)$`)
	treePath = regexp.MustCompile(`^([^_/]+)_([^_/]+)_[^_/]+/([^/]+)/(\d+)\.log(\.[0-9-]+)?(\.gz)?$`)
)

// untar unpacks the pods of a captured node's /var/log into dir.
func untar(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Clean("/"+h.Name))
		switch {
		case !strings.HasPrefix(filepath.Clean("/"+h.Name), "/pods"):
			continue
		case h.Typeflag == tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case h.Typeflag == tar.TypeReg:
			var b []byte
			if b, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, b, 0o644)
			}
			if err == nil {
				err = os.Chtimes(path, h.ModTime, h.ModTime)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// treeRecord is one record by log and stream.
type treeRecord struct {
	body string
	time uint64
}

// readTree is the slow way: a whole log in memory, its generations one after the other.
func readTree(t *testing.T, root string) map[string][]treeRecord {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	texts, live := map[string]string{}, map[string]string{}
	slices.Sort(names) // N.log comes before its rotated generations: put aside and appended
	for _, name := range names {
		m := treePath.FindStringSubmatch(name)
		if m == nil {
			t.Fatalf("unexpected name %s", name)
		}
		var r io.Reader
		f, err := os.Open(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		r = f
		if m[6] != "" {
			if r, err = gzip.NewReader(f); err != nil {
				t.Fatal(err)
			}
		}
		b, err := io.ReadAll(r)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		key := strings.Join(m[1:5], "/")
		if m[5] == "" {
			live[key] = string(b)
		} else {
			texts[key] += string(b)
		}
	}
	for key, text := range live {
		texts[key] += text
	}
	want := map[string][]treeRecord{}
	for key, text := range texts {
		open := map[string]*treeRecord{}
		for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
			if line == "" {
				continue
			}
			m := treeLine.FindStringSubmatch(line)
			if m == nil {
				t.Fatalf("%s: line %.80q", key, line)
			}
			at, err := time.Parse(time.RFC3339Nano, m[1])
			if err != nil {
				t.Fatal(err)
			}
			stream := key + " " + m[2]
			if open[stream] == nil {
				open[stream] = &treeRecord{time: uint64(at.UnixNano())}
			}
			open[stream].body += m[4]
			if m[3] == "F" {
				want[stream] = append(want[stream], *open[stream])
				delete(open, stream)
			}
		}
		for stream, r := range open { // ended without a newline
			want[stream] = append(want[stream], *r)
		}
	}
	for _, records := range want {
		for i := range records {
			records[i].body = strings.TrimSuffix(records[i].body, "\r")
			var valid strings.Builder
			for _, r := range records[i].body { // ranging gives U+FFFD for each bad byte
				valid.WriteRune(r)
			}
			records[i].body = valid.String()
		}
	}
	return want
}

// TestCapturedTree reads the /var/log/pods of a real node (kubelet and containerd): pieces of
// 16384 bytes, one without an end, rotated and compressed logs, a static pod, names with dots,
// two incarnations of a container.
func TestCapturedTree(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	untar(t, "testdata/tree.tar.gz", dir)
	r.root = filepath.Join(dir, "pods")
	r.cfg.Containers.Root = r.root
	r.age = 100 * time.Millisecond
	want := readTree(t, r.root)
	total := 0
	for _, records := range want {
		total += len(records)
	}
	r.start()
	r.wait(total)
	r.until("all settled", func(s Status) bool { return s.Unsettled == 0 && s.Delivered == int64(total) })
	have := map[string][]treeRecord{}
	for _, g := range r.got {
		key := g.pod + " " + g.stream
		have[key] = append(have[key], treeRecord{g.body, g.time})
	}
	for key := range have {
		if want[key] == nil {
			t.Errorf("%s: %d records that are not there", key, len(have[key]))
		}
	}
	for key := range want {
		if !slices.Equal(want[key], have[key]) {
			t.Errorf("%s: %d records, want %d", key, len(have[key]), len(want[key]))
			for i := range min(len(want[key]), len(have[key])) {
				if w, h := want[key][i], have[key][i]; w != h {
					t.Errorf("record %d: %d %.100q, want %d %.100q", i, h.time, h.body, w.time, w.body)
					break
				}
			}
		}
	}
	s := r.tailer.Status()
	if s.Malformed != 0 || s.Unfinished == 0 {
		t.Errorf("%d malformed, %d without an end", s.Malformed, s.Unfinished)
	}
	t.Logf("%d logs and streams, %d records, %d without an end", len(want), total, s.Unfinished)
	r.end()
	r.start() // nothing again
	r.until("looked", func(s Status) bool { return !r.tailer.LastLook().IsZero() && s.BehindBytes == 0 })
	r.end()
	r.wait(total)
}
