package host

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

// kstats are the files of ZFS's statistics: two lines of another form, then a name, a type and a
// value a line. Data sets are looked for once a minute; of the files that are there each line
// gets its attributes once.
type kstats struct {
	path   string
	dir    directory
	files  []kstat
	listed uint64
	buf    [32 << 10]byte
}

type kstat struct {
	path  []byte
	kvs   []otlp.KeyValue
	lines []kstatLine
}

type kstatLine struct {
	name  []byte
	attrs []byte
}

const (
	kstatRefresh = uint64(time.Minute)
	// maxKstats bounds the files: a data set has one, of some 20 lines.
	maxKstats = 512
)

// kstatModules are the files of modules.
var kstatModules = []struct{ file, module string }{
	{"arcstats", "arc"}, {"abdstats", "abd"}, {"dbufstats", "dbuf"}, {"dmu_tx", "dmu_tx"}, {"dnodestats", "dnode"}, {"fm", "fm"},
	{"vdev_cache_stats", "vdev_cache"}, {"vdev_mirror_stats", "vdev_mirror"}, {"xuio_stats", "xuio"}, {"zfetchstats", "zfetch"}, {"zil", "zil"},
}

var errManyKstats = fmt.Errorf("system.zfs.kstat: more than %d data sets; the others are left out", maxKstats)

func newKstats(path string) *kstats { return &kstats{path: path, dir: newDirectory(path)} }

func (s *kstats) scrape(p *series.Points, now uint64) (err error) {
	changed, err := s.dir.changed() // a pool has a directory
	if changed || now-s.listed >= kstatRefresh || now < s.listed {
		s.list()
		s.listed = now
	}
	if len(s.files) >= maxKstats {
		err = errors.Join(err, errManyKstats)
	}
	for i := range s.files {
		f := &s.files[i]
		b, errno := kernel.ReadSmall(f.path, s.buf[:])
		if errno == unix.ENOENT { // its pool was exported
			continue
		}
		if errno != 0 {
			err = errors.Join(err, &os.PathError{Op: "read", Path: string(f.path[:len(f.path)-1]), Err: errno})
			continue
		}
		f.points(p, b)
	}
	return err
}

// list lists the files, and keeps what is known of those that stay.
func (s *kstats) list() {
	known := map[string]kstat{}
	for _, f := range s.files {
		known[string(f.path)] = f
	}
	s.files = s.files[:0]
	add := func(file string, kvs []otlp.KeyValue) {
		path := s.path + "/" + file
		if k, ok := known[path+"\x00"]; ok {
			s.files = append(s.files, k)
		} else if exists(path) && len(s.files) < maxKstats {
			s.files = append(s.files, kstat{path: kernel.CString(path), kvs: kvs})
		}
	}
	for _, m := range kstatModules {
		add(m.file, attr("system.zfs.module", m.module))
	}
	for _, pool := range names(s.path, "") {
		for _, set := range names(s.path+"/"+pool, "objset-") {
			file := pool + "/" + set
			add(file, attr("system.zfs.module", "zpool", "system.zfs.pool", pool, "system.zfs.dataset", datasetName(s.path+"/"+file)))
		}
	}
}

// datasetName is the name of a data set, which its file tells.
func datasetName(path string) string {
	b, _ := os.ReadFile(path)
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) > 2 && f[0] == "dataset_name" {
			return strings.Join(f[2:], " ")
		}
	}
	return ""
}

// points adds what the file has that is a number.
func (f *kstat) points(p *series.Points, b []byte) {
	n := 0
	for ; len(b) > 0; n++ {
		var l []byte
		l, b = kernel.Line(b)
		name, rest := kernel.Field(l)
		kind, rest := kernel.Field(rest)
		if n == len(f.lines) {
			f.lines = append(f.lines, kstatLine{})
		}
		q := &f.lines[n]
		if q.name == nil || !bytes.Equal(q.name, name) {
			*q = kstatLine{name: bytes.Clone(name)}
			q.attrs = series.Attributes(append(f.kvs[:len(f.kvs):len(f.kvs)], otlp.Attr("system.zfs.field", string(name)))...)
		}
		// Types 1 to 4 are numbers (KSTAT_DATA_INT32 and so on), 7 is a text.
		if len(kind) != 1 || kind[0] < '1' || kind[0] > '4' {
			continue
		}
		v, rest, ok := kernel.Number(rest)
		if more, _ := kernel.Field(rest); ok && len(more) == 0 {
			p.Int(zfsKstat, q.attrs, min(v, math.MaxInt64))
		}
	}
	f.lines = f.lines[:n]
}
