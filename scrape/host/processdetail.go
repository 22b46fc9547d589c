package host

import (
	"bytes"
	"math/bits"

	"golang.org/x/sys/unix"

	"stint/scrape/kernel"
	"stint/scrape/series"
)

// procDetail reads what of a process is off by default.
type procDetail struct {
	sized                  bool // /proc is the kernel's, where the size of a directory may tell
	stat                   unix.Stat_t
	buf                    []byte
	entries                [8 << 10]byte
	voluntary, involuntary []byte
}

func newProcDetail(proc string) procDetail {
	kinds := series.Names("process.context_switch.type", "voluntary", "involuntary")
	var st unix.Statfs_t
	return procDetail{
		sized: unix.Statfs(proc, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC,
		buf:   make([]byte, 4<<10), voluntary: kinds[0], involuntary: kinds[1],
	}
}

func (d *procDetail) points(s *process, q *proc, p *series.Points) {
	if n, ok := d.files(s.file(q.pid, "/fd")); ok {
		p.Int(procFDs, nil, n)
	}
	if b, errno := kernel.ReadSmall(s.file(q.pid, "/limits"), d.buf); errno == 0 {
		if limit := kernel.OpenFilesLimit(b); limit > 0 {
			p.Int(procFDLimit, nil, limit)
		}
	}
	b, errno := kernel.ReadSmall(s.file(q.pid, "/status"), d.buf)
	if errno != 0 {
		return
	}
	if st := parsePIDStatus(b); st.ok {
		p.Int(procSwitches, d.voluntary, st.voluntary)
		p.Int(procSwitches, d.involuntary, st.involuntary)
		p.Int(procSignals, nil, st.pending)
	}
}

// files counts the open files in /proc/<pid>/fd.
func (d *procDetail) files(path []byte) (n uint64, ok bool) {
	fd, errno := kernel.Open(path)
	if errno != 0 {
		return 0, false
	}
	defer unix.Close(fd)
	if d.sized && unix.Fstat(fd, &d.stat) == nil && d.stat.Size > 0 {
		return uint64(d.stat.Size), true
	}
	for {
		r, err := unix.ReadDirent(fd, d.entries[:])
		if err != nil {
			return 0, false
		}
		if r <= 0 {
			return n, true
		}
		list := directory{left: d.entries[:r]}
		for list.next() != nil {
			n++
		}
	}
}

// pidStatus is what is taken of /proc/<pid>/status.
type pidStatus struct {
	voluntary, involuntary uint64
	pending                uint64 // signals
	ok                     bool
}

func parsePIDStatus(b []byte) (s pidStatus) {
	found := 0
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		key, value, _ := bytes.Cut(l, []byte(":"))
		var n uint64
		ok := true
		switch string(key) {
		case "voluntary_ctxt_switches":
			n, _, ok = kernel.Number(value)
			s.voluntary = n
		case "nonvoluntary_ctxt_switches":
			n, _, ok = kernel.Number(value)
			s.involuntary = n
		case "SigPnd", "ShdPnd":
			word, _ := kernel.Field(value)
			n, ok = kernel.Hexadecimal(word)
			s.pending += uint64(bits.OnesCount64(n))
		default:
			continue
		}
		if !ok {
			return pidStatus{}
		}
		found++
	}
	s.ok = found == 4
	return s
}

// pss reads the proportional set size.
func (d *procDetail) pss(path []byte) (n uint64, ok bool) {
	b, errno := kernel.ReadSmall(path, d.buf)
	if errno != 0 {
		return 0, false
	}
	return parsePSS(b)
}

// parsePSS finds the line "Pss: 12 kB".
func parsePSS(b []byte) (n uint64, ok bool) {
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		if rest, is := bytes.CutPrefix(l, []byte("Pss:")); is {
			n, _, ok = kernel.Number(rest)
			return n * 1024, ok && n < 1<<53
		}
	}
	return 0, false
}
