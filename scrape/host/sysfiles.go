package host

import (
	"bytes"
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
		if errno == 0 && p.Table[f.metric].Double {
			if v, ok := sysNumber(b); ok {
				p.Float(f.metric, f.attrs, v)
			}
			continue
		}
		n, _, ok := kernel.Number(b)
		if hex, is := bytes.CutPrefix(b, []byte("0x")); is {
			hex, _ = kernel.Field(hex)
			n, ok = kernel.Hexadecimal(hex)
		}
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

// sysNumber reads a number as drivers and file systems print them: with a minus, a fraction, and a
// unit of which there are 1024 of the one before, as in 1.5k.
func sysNumber(b []byte) (float64, bool) {
	b, _ = bytes.CutPrefix(b, []byte("since mount:")) // bcachefs
	word, rest := kernel.Field(b)
	word, minus := bytes.CutPrefix(word, []byte("-"))
	scale := 1.0
	if n := len(word); n > 1 {
		if i := bytes.IndexByte([]byte("kMGTPE"), word[n-1]); i >= 0 {
			word = word[:n-1]
			for range i + 1 {
				scale *= 1024
			}
		}
	}
	v, _, ok := kernel.Decimal(word)
	next, _ := kernel.Line(rest)
	if len(bytes.TrimSpace(next)) > 0 { // it is a text that begins with a number
		return 0, false
	}
	if minus {
		v = -v
	}
	return v * scale, ok
}

// numericFiles lists the files of a directory that hold a number and nothing else.
func numericFiles(dir string) (all []string) {
	entries, _ := os.ReadDir(dir) // which need not be there
	buf := make([]byte, 128)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o444 == 0 {
			continue
		}
		b, errno := kernel.ReadSmall(kernel.CString(dir+"/"+e.Name()), buf)
		hex, is := bytes.CutPrefix(b, []byte("0x"))
		hex, _ = kernel.Field(hex)
		_, ok := sysNumber(b)
		if n, hexadecimal := kernel.Hexadecimal(hex); is {
			ok = hexadecimal && n != math.MaxUint64 // which means that it is not counted
		}
		if errno == 0 && ok {
			all = append(all, e.Name())
		}
	}
	return all
}
