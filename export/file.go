package export

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"stint/export/otlp"
)

// File is a destination that appends to a file: a request a line, in OTLP's JSON encoding, as the
// OpenTelemetry Collector's file exporter writes and its otlpjsonfile receiver reads it.
type File struct {
	Path     string   `yaml:"path" doc:"the file; it is made, with mode 0640, and appended to"`
	Rotation Rotation `yaml:"rotation" doc:"when a file is put aside and a new one begun"`
}

// Rotation bounds what a file takes on disk. The names are those of the collector's file exporter.
type Rotation struct {
	MaxMegabytes int `yaml:"max_megabytes" unit:"MiB" doc:"a file larger than this is put aside, with the time in its name; 1 to 1048576"`
	MaxDays      int `yaml:"max_days" unit:"days" doc:"files put aside longer ago are removed; 0: never"`
	MaxBackups   int `yaml:"max_backups" unit:"files" doc:"of more files put aside than this the oldest are removed; 1 to 10000"`
}

// Takes: every signal.
func (f *File) Takes(string) bool { return true }

func (f *File) check(path string) []error {
	var errs []error
	if f.Path == "" {
		errs = append(errs, fmt.Errorf("%s.path: missing; give the name of a file", path))
	} else if strings.HasSuffix(f.Path, "/") {
		errs = append(errs, fmt.Errorf("%s.path: %q is a directory; give the name of a file", path, f.Path))
	}
	return append(errs, f.Rotation.check(path+".rotation")...)
}

func (r Rotation) check(path string) []error {
	var errs []error
	if r.MaxMegabytes < 1 || r.MaxMegabytes > 1<<20 {
		errs = append(errs, fmt.Errorf("%s.max_megabytes: %d is out of range; give 1 to 1048576", path, r.MaxMegabytes))
	}
	if r.MaxDays < 0 || r.MaxDays > 36500 {
		errs = append(errs, fmt.Errorf("%s.max_days: %d is out of range; give 0 to 36500", path, r.MaxDays))
	}
	if r.MaxBackups < 1 || r.MaxBackups > 10_000 {
		errs = append(errs, fmt.Errorf("%s.max_backups: %d is out of range; give 1 to 10000", path, r.MaxBackups))
	}
	return errs
}

// file is a File at work.
type file struct{ lineFile }

func newFile(c *File) *file { return &file{lineFile{path: c.Path, rotation: c.Rotation}} }

// jsonLine is a request in one piece and as a line of JSON.
type jsonLine struct{ whole, line []byte }

// jsonLines are kept, so that no request allocates megabytes.
var jsonLines = sync.Pool{New: func() any { return new(jsonLine) }}

// of makes the line of a request whose bytes are bufs, without its end.
func (j *jsonLine) of(s otlp.Signal, bufs [][]byte) (err error) {
	j.whole = j.whole[:0]
	for _, b := range bufs {
		j.whole = append(j.whole, b...)
	}
	j.line, err = otlp.AppendJSON(j.line[:0], s, j.whole)
	return err
}

func (f *file) send(ctx context.Context, r *request) Verdict {
	j := jsonLines.Get().(*jsonLine)
	defer jsonLines.Put(j)
	bufs, _ := r.buffers()
	if err := j.of(r.signal, bufs); err != nil {
		return Verdict{Kind: Split, Reason: invalid, Err: err}
	}
	j.line = append(j.line, '\n')
	if err := f.write(ctx, j.line); err != nil {
		return Verdict{Kind: Again, Err: err} // the disk is full, say: it may be mended
	}
	return Verdict{Kind: OK}
}

// lineFile is a file of lines that is put aside when it is large enough.
type lineFile struct {
	path     string
	rotation Rotation

	mu      sync.Mutex // guards everything below
	f       *os.File   // nil: not open
	size    int64
	regular bool // no pipe or device, which keep nothing
	torn    bool // a pipe has got a part of a line
}

// write appends a line, or none of it; once it returns, the line is on the disk. A pipe that nobody reads is
// waited for until ctx ends.
func (l *lineFile) write(ctx context.Context, line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil && !l.there() {
		l.f.Close() // somebody moved or removed it: logrotate, say
		l.f = nil
	}
	if l.f == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	if l.regular && l.size > 0 && l.size+int64(len(line)) > int64(l.rotation.MaxMegabytes)<<20 {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if !l.regular {
		f := l.f
		defer context.AfterFunc(ctx, func() { f.SetWriteDeadline(time.Unix(1, 0)) })() // a device has none, and takes what comes
		if l.torn {
			line = append([]byte{'\n'}, line...)
		}
	}
	n, err := l.f.Write(line)
	l.torn = l.torn && n == 0 || err != nil && n > 0
	if err == nil && l.regular {
		err = l.f.Sync()
	}
	if err != nil {
		if l.regular {
			err = errors.Join(err, l.f.Truncate(l.size)) // half a line would be read as one
		}
		l.f.Close() // a descriptor whose fsync failed tells nothing any more
		l.f = nil
		return err
	}
	l.size += int64(len(line))
	return nil
}

// there says whether the path still names the open file.
func (l *lineFile) there() bool {
	named, err := os.Stat(l.path)
	if err != nil {
		return false
	}
	open, err := l.f.Stat()
	if err != nil || !os.SameFile(named, open) {
		return false
	}
	l.size = open.Size() // somebody may have truncated it
	return true
}

func (l *lineFile) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.f, l.size, l.regular = f, fi.Size(), fi.Mode().IsRegular()
	if !l.regular {
		return nil
	}
	last := []byte{'\n'}
	if l.size > 0 {
		if _, err = f.ReadAt(last, l.size-1); err == nil && last[0] != '\n' {
			// A process or machine that died in the middle of a line. What it was is sent again.
			if _, err = f.WriteString("\n"); err == nil {
				l.size++
			}
		}
	}
	if err != nil {
		f.Close()
		l.f = nil
	}
	return err
}

// rotate puts the file aside, begins a new one and removes what is too old or too many.
func (l *lineFile) rotate() error {
	l.f.Close() // it was synced
	l.f = nil
	ext := filepath.Ext(l.path)
	stem := strings.TrimSuffix(l.path, ext)
	now := time.Now().UTC()
	aside := stem + "-" + now.Format(asideFormat) + ext
	for n := 2; exists(aside); n++ {
		aside = fmt.Sprintf("%s-%s.%d%s", stem, now.Format(asideFormat), n, ext)
	}
	if err := os.Rename(l.path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.prune(stem, ext, now)
	return l.open()
}

// asideFormat is the time in the name of a file that was put aside.
const asideFormat = "2006-01-02T15-04-05.000"

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// prune removes what is too old or too many of the files that were put aside. One that can't be
// removed is tried again at the next rotation.
func (l *lineFile) prune(stem, ext string, now time.Time) {
	dir, err := os.ReadDir(filepath.Dir(l.path))
	if err != nil {
		return
	}
	type old struct {
		name string
		at   time.Time
	}
	var all []old
	for _, e := range dir {
		name, ours := strings.CutPrefix(e.Name(), filepath.Base(stem)+"-")
		name, too := strings.CutSuffix(name, ext)
		if at, err := time.Parse(asideFormat, name[:min(len(name), len(asideFormat))]); ours && too && err == nil {
			all = append(all, old{e.Name(), at})
		}
	}
	sort.Slice(all, func(i, j int) bool {
		return cmp.Or(all[j].at.Compare(all[i].at), strings.Compare(all[j].name, all[i].name)) < 0
	}) // the newest first
	for i, o := range all {
		if i >= l.rotation.MaxBackups || l.rotation.MaxDays > 0 && now.Sub(o.at) > time.Duration(l.rotation.MaxDays)*24*time.Hour {
			os.Remove(filepath.Join(filepath.Dir(l.path), o.name))
		}
	}
}

func (l *lineFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		l.f.Close() // each line was synced
		l.f = nil
	}
}
