package host

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	textfileMtime = iota
	textfileError
)

const textfileAttributes = "file=<path>"

// textfileMetrics are what is told of the files; what they contain has whatever name they give it.
var textfileMetrics = []series.Metric{
	textfileMtime: {
		Metric: otlp.Metric{Name: "node_textfile_mtime_seconds", Unit: "s", Instrument: otlp.Gauge, Double: true,
			Description: "When a file was written last, seconds since 1970; under the name that node_exporter gives it, as its series have theirs."},
		Attributes: textfileAttributes,
		Source:     "*.prom in textfile.directories",
		When:       "textfile.directories names one that has such files",
	},
	textfileError: {
		Metric: otlp.Metric{Name: "node_textfile_scrape_error", Unit: "1", Instrument: otlp.Gauge,
			Description: "1 when a file is left out: it cannot be read or made out, is older than textfile.max_age, or has a series of another one; else 0. The agent's log says why."},
		Attributes: textfileAttributes,
		Source:     "*.prom in textfile.directories",
		When:       "textfile.directories names one that has such files",
	},
}

const (
	maxPromFiles = 256     // in all directories
	maxPromBytes = 4 << 20 // of a file
	maxPromTotal = 50_000  // series of all files
	promPart     = 64 << 10
)

// textfile is the scraper of files in Prometheus' text format that others write: jobs, hooks,
// scripts for which an exporter would be too much.
//
// A file is read and encoded when it has changed; scrapes in between patch the time. It should be
// written under another name and renamed: one that is cut off is refused, and taken when
// it is whole. Series carry the time of the scrape, and sums no start time, which the format
// does not have.
type textfile struct {
	h     *Host
	cfg   Textfile
	dirs  []directory
	files table[promFile]
	own   series.Points
	path  []byte
	stat  unix.Stat_t
}

// promFile is what is known of a file.
type promFile struct {
	path  []byte // with a NUL
	attrs []byte
	ino   uint64
	size  int64
	mtime unix.Timespec
	err   error

	families []promName
	keys     []string // of its series
	data     []byte
	times    []int // where the time of each point lies in data
	parts    []promRun
	clash    error // with another file
}

// promName is a family as others must have it, too.
type promName struct {
	name string
	kind promKind
}

// promRun is a run of whole metrics in promFile.data.
type promRun struct{ start, end, points int }

func newTextfile(h *Host, cfg *Config) scraper {
	s := &textfile{h: h, cfg: cfg.Textfile, own: series.Points{Table: textfileMetrics}}
	for _, dir := range s.cfg.Directories {
		s.dirs = append(s.dirs, newDirectory(dir))
	}
	return s
}

func (s *textfile) close() {}

// scrape is not that of others: see scrapeEach.
func (s *textfile) scrape(*series.Points, uint64) error { return nil }

// scrapeEach hands over what the files contain, and what is to be said of them.
func (s *textfile) scrapeEach(_, now uint64, hand func(*otlp.Group, []byte, int)) error {
	s.files.begin()
	var errs []error
	changed := false
	for i := range s.dirs {
		other, err := s.list(&s.dirs[i])
		changed = changed || other
		if err != nil {
			errs = append(errs, err)
		}
	}
	before := len(s.files.list)
	s.files.sweep()
	if changed || len(s.files.list) != before {
		s.compare()
	}
	group := s.h.group
	if s.h.theirs != nil { // whose names these are
		group = s.h.theirs
	}
	s.own.Begin(0)
	for _, f := range s.files.list {
		s.own.Float(textfileMtime, f.attrs, float64(f.mtime.Sec)+float64(f.mtime.Nsec)/1e9)
	}
	for _, f := range s.files.list {
		err := cmp.Or(f.err, f.clash)
		if age := int64(now) - unix.TimespecToNsec(f.mtime); err == nil && s.cfg.MaxAge > 0 && age > int64(s.cfg.MaxAge) {
			err = fmt.Errorf("not written for more than %v (scrape.host.textfile.max_age)", s.cfg.MaxAge)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s is left out: %w", f.path[:len(f.path)-1], err))
			s.own.Int(textfileError, f.attrs, 1)
			continue
		}
		s.own.Int(textfileError, f.attrs, 0)
		for _, at := range f.times {
			binary.LittleEndian.PutUint64(f.data[at:], now)
		}
		for _, r := range f.parts {
			hand(group, f.data[r.start:r.end], r.points)
		}
	}
	own := s.own.Commit(now)
	hand(group, own.Bytes(), own.Len())
	return errors.Join(errs...)
}

// list looks at the files of a directory, and reads those that are others than in the last scrape.
// The directory is opened each time: it may have been replaced.
func (s *textfile) list(d *directory) (changed bool, err error) {
	err = d.read()
	if err == nil && d.fd < 0 {
		err = &os.PathError{Op: "list", Path: string(d.path[:len(d.path)-1]), Err: unix.ENOENT}
	}
	d.close()
	if err != nil {
		return false, err
	}
	for name := d.next(); name != nil; name = d.next() {
		if !bytes.HasSuffix(name, []byte(".prom")) {
			continue
		}
		s.path = append(append(append(append(s.path[:0], d.path[:len(d.path)-1]...), '/'), name...), 0)
		if errno := s.look(); errno != 0 {
			continue // it is gone
		}
		if s.files.seen >= maxPromFiles {
			err = fmt.Errorf("textfile.directories: more than %d files; the others are left out", maxPromFiles)
			continue
		}
		f, fresh := s.files.get(s.path)
		if fresh {
			f.path = bytes.Clone(s.path)
			f.attrs = series.Attributes(otlp.Attr("file", string(f.path[:len(f.path)-1])))
		}
		if st := &s.stat; fresh || f.ino != st.Ino || f.size != st.Size || f.mtime != st.Mtim {
			f.ino, f.size, f.mtime = st.Ino, st.Size, st.Mtim
			f.read()
			changed = true
		}
	}
	return changed, err
}

// look is stat(2) of s.path, which ends in NUL; unix.Stat would copy it.
func (s *textfile) look() unix.Errno {
	fd, errno := kernel.OpenPath(s.path)
	if errno != 0 {
		return errno
	}
	defer unix.Close(fd)
	err := unix.Fstat(fd, &s.stat)
	errno, _ = err.(unix.Errno)
	return errno
}

// read reads and encodes a file.
func (f *promFile) read() {
	f.families, f.keys, f.data, f.times, f.parts = nil, nil, nil, nil, nil
	var families []*promFamily
	b, err := readPromFile(string(f.path[:len(f.path)-1]))
	if err == nil {
		families, err = parseProm(b)
	}
	if f.err = err; err != nil {
		return
	}
	r := promRun{}
	for _, q := range families {
		f.families = append(f.families, promName{q.name, q.kind})
		for key := range q.byLabels {
			f.keys = append(f.keys, q.name+"\x00"+key)
		}
		f.data = q.encode(f.data)
		r.points += len(q.points)
		if r.end = len(f.data); r.end-r.start >= promPart {
			f.parts = append(f.parts, r)
			r = promRun{start: r.end}
		}
	}
	if r.points > 0 {
		f.parts = append(f.parts, r)
	}
	f.times, f.err = otlp.Times(f.data)
}

// readPromFile reads a regular file of a size within bounds. Opening a pipe must not wait for
// its writer.
func readPromFile(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("not a file")
	}
	b, err := io.ReadAll(io.LimitReader(file, maxPromBytes+1))
	if err == nil && len(b) > maxPromBytes {
		return nil, fmt.Errorf("more than %d MiB", maxPromBytes>>20)
	}
	return b, err
}

// encode appends a family as OTLP; times are filled in later.
func (f *promFamily) encode(dst []byte) []byte {
	m := &otlp.Metric{Name: f.name, Description: f.help, Unit: f.unit, Double: true}
	attrs := func(q *promPoint, field int) []byte {
		var kvs []otlp.KeyValue
		for _, l := range q.labels {
			kvs = append(kvs, otlp.Attr(l.name, l.value))
		}
		return otlp.AppendAttrs(nil, field, kvs)
	}
	switch f.kind {
	case promHistogram:
		var points []otlp.HistogramPoint
		for _, q := range f.points {
			p := otlp.HistogramPoint{Attrs: attrs(q, otlp.AttrsOfHistogram), Count: uint64(q.count), Sum: q.sum}
			below := uint64(0)
			for _, s := range q.steps {
				p.Bounds, p.Buckets = append(p.Bounds, s.at), append(p.Buckets, uint64(s.value)-below)
				below = uint64(s.value)
			}
			p.Buckets = append(p.Buckets, p.Count-below)
			points = append(points, p)
		}
		return otlp.AppendHistogram(dst, m, points)
	case promSummary:
		var points []otlp.SummaryPoint
		for _, q := range f.points {
			p := otlp.SummaryPoint{Attrs: attrs(q, otlp.AttrsOfPoint), Count: uint64(q.count), Sum: q.sum}
			for _, s := range q.steps {
				p.Quantiles = append(p.Quantiles, otlp.Quantile{Quantile: s.at, Value: s.value})
			}
			points = append(points, p)
		}
		return otlp.AppendSummary(dst, m, points)
	case promCounter:
		m.Instrument = otlp.Counter
	}
	var points []otlp.NumberPoint
	for _, q := range f.points {
		points = append(points, otlp.NumberPoint{Attrs: attrs(q, otlp.AttrsOfPoint), Double: q.value})
	}
	return otlp.AppendMetric(dst, m, points)
}

// compare looks for what stands in two files: the first by name has it, the other is left out.
// So is one with which there would be too many series.
func (s *textfile) compare() {
	taken, kinds := map[string]*promFile{}, map[string]promKind{}
	files := slices.SortedFunc(slices.Values(s.files.list), func(a, b *promFile) int { return bytes.Compare(a.path, b.path) })
	for _, f := range files {
		if f.clash = nil; f.err != nil {
			continue
		}
		for _, q := range f.families {
			if kind, ok := kinds[q.name]; ok && kind != q.kind {
				f.clash = fmt.Errorf("%s has another type in another file", q.name)
			}
		}
		for _, key := range f.keys {
			if other := taken[key]; other != nil {
				name, _, _ := bytes.Cut([]byte(key), []byte{0})
				f.clash = fmt.Errorf("a series of %s is in %s, too", name, other.path[:len(other.path)-1])
			}
		}
		if len(taken)+len(f.keys) > maxPromTotal {
			f.clash = fmt.Errorf("with it there are more than %d series", maxPromTotal)
		}
		if f.clash != nil {
			continue
		}
		for _, q := range f.families {
			kinds[q.name] = q.kind
		}
		for _, key := range f.keys {
			taken[key] = f
		}
	}
}
