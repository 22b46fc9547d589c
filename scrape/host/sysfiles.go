package host

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"stint/scrape/kernel"
	"stint/scrape/series"
)

// sysFiles are the files of a class of devices in /sys that hold one number each. They are
// listed when the class's directory has other names than the last time, and opened for each
// reading: there may be hundreds.
type sysFiles struct {
	class directory
	list  func() []sysFile // made by add, in the order of their metrics
	files []sysFile
	small [64]byte
	prev  uint64 // time of the last scrape
}

// sysFile is a file with a number, and its point.
type sysFile struct {
	metric int
	path   []byte
	attrs  []byte
	unit   uint64
	raw    uint64
	start  uint64 // 0 = the machine's
}

func newSysFile(metric int, path string, unit uint64, attrs []byte) sysFile {
	return sysFile{metric: metric, path: kernel.CString(path), unit: unit, attrs: attrs}
}

func (s *sysFiles) close() { s.class.close() }

func (s *sysFiles) scrape(p *series.Points, now uint64) error {
	changed, err := s.class.changed()
	if err != nil {
		return err
	}
	if changed {
		s.relist()
	}
	boot := p.Start
	for i := range s.files {
		f := &s.files[i]
		b, errno := kernel.ReadSmall(f.path, s.small[:])
		n, _, ok := kernel.Number(b)
		switch {
		case errno == unix.ENOENT || errno == unix.ENODEV: // not of this kind of device, or gone just now
			continue
		case errno != 0:
			err = errors.Join(err, &os.PathError{Op: "read", Path: string(f.path[:len(f.path)-1]), Err: errno})
			continue
		case !ok || n > math.MaxUint64/f.unit:
			err = errors.Join(err, kernel.Malformed(string(f.path[:len(f.path)-1]), b))
			continue
		}
		if n < f.raw {
			f.start = s.prev
		}
		f.raw = n
		if p.Start = boot; f.start != 0 {
			p.Start = f.start
		}
		p.Int(f.metric, f.attrs, n*f.unit)
	}
	p.Start, s.prev = boot, now
	return err
}

// relist lists the files, and keeps what is known of those that stay.
func (s *sysFiles) relist() {
	known := map[string]sysFile{}
	for _, f := range s.files {
		known[string(f.path)] = f
	}
	s.files = s.list()
	for i := range s.files {
		if k, ok := known[string(s.files[i].path)]; ok {
			s.files[i] = k
		} else {
			s.files[i].start = s.prev // 0 in the first scrape
		}
	}
}
