package host

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	filesystemUsage = iota
	filesystemLimit
	filesystemInodes
	filesystemUp
	filesystemUtilization // from here on with detail
	filesystemInfo
	filesystemLocks
)

const filesystemAsked = "host.filesystem.detail is on"

const filesystemDevice = "system.device=<source>; system.filesystem.type; system.filesystem.mode=rw|ro; system.filesystem.mountpoint=<host path>"

var filesystemMetrics = []series.Metric{
	filesystemUsage: {
		Metric: otlp.Metric{Name: "system.filesystem.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Space of the file system by state; reserved is free to root only."},
		Attributes: "system.filesystem.state=used|free|reserved; " + filesystemDevice,
		Source:     "/proc/1/mountinfo, statfs(2)",
	},
	filesystemLimit: {
		Metric: otlp.Metric{Name: "system.filesystem.limit", Unit: "By", Instrument: otlp.UpDown,
			Description: "Size of the file system."},
		Attributes: filesystemDevice,
		Source:     "/proc/1/mountinfo, statfs(2)",
	},
	filesystemInodes: {
		Metric: otlp.Metric{Name: "system.filesystem.inodes.usage", Unit: "{inode}", Instrument: otlp.UpDown,
			Description: "Inodes of the file system by state."},
		Attributes: "system.filesystem.state=used|free; " + filesystemDevice,
		Source:     "/proc/1/mountinfo, statfs(2)",
		When:       "the file system has a fixed number of inodes",
	},
	filesystemUp: {
		Metric: otlp.Metric{Name: "system.filesystem.up", Unit: "1", Instrument: otlp.Gauge,
			Description: "1 when the file system answered in time, 0 when it hangs or gives an error; then its other metrics are absent."},
		Attributes: "system.device; system.filesystem.type; system.filesystem.mountpoint",
		Source:     "statfs(2)",
	},
	filesystemUtilization: {
		Metric: otlp.Metric{Name: "system.filesystem.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Share of the space that is used, of what users can have, 0 to 1, as df has it."},
		Attributes: "system.filesystem.state=used; " + filesystemDevice,
		Source:     "/proc/1/mountinfo, statfs(2)",
		When:       filesystemAsked,
	},
	filesystemInfo: {
		Metric: otlp.Metric{Name: "system.filesystem.info", Unit: "1", Instrument: otlp.UpDown,
			Description: "1 for each file system, with its number; the mode is ro as well where the file system itself was made that by an error."},
		Attributes: filesystemDevice + "; system.filesystem.device_number=<major:minor>",
		Source:     "/proc/1/mountinfo",
		When:       filesystemAsked,
	},
	filesystemLocks: {
		Metric: otlp.Metric{Name: "system.filesystem.lock.count", Unit: "{lock}", Instrument: otlp.UpDown,
			Description: "Locks of files that are held; leases have no mode."},
		Attributes: "system.device=<major:minor>; file.lock.type=read|write; file.lock.mechanism=posix|flock|ofdlck|lease; file.lock.mode=advisory|mandatory",
		Source:     "/proc/locks",
		When:       filesystemAsked,
	},
}

const (
	// statfsTimeout is how long a file system may take to answer and still count as up.
	statfsTimeout = 2 * time.Second
	// statfsGrace is how long a scrape waits for file systems that used to answer; a local one
	// takes a microsecond. An answer that comes later is used by the next scrape.
	statfsGrace = 200 * time.Millisecond
	// maxStuck bounds the calls under way, and with them the goroutines and threads that dead
	// file systems can hold: so many among local ones and so many among those over the
	// network. What finds no place is not asked and counts as down.
	maxStuck = 8
)

// filesystem is the scraper of mounted file systems.
//
// statfs(2) of a dead server does not return and cannot be interrupted. So each call has a
// goroutine of its own, which ends with it, and a mount has one call under way at most: while
// that hangs the mount is reported as down and costs nothing more.
type filesystem struct {
	h      *Host
	cfg    Filesystem
	mounts mountTable
	statfs func(*mount) error // (*mount).statfs, but for tests

	list    []*mount
	calls   [2]int // under way: of local mounts, of remote ones
	locks   locks
	answers chan *mount // has room for all calls that can be under way
	grace   *time.Timer
}

// mount is a mounted file system.
type mount struct {
	mountinfo
	path  string // below the root path
	cpath []byte // the same with a NUL
	class int    // index into filesystem.calls
	call  func() // asks; made once, so that starting it allocates nothing

	// Of the goroutine while a call is under way, else of the scraper.
	checked bool // path shows this file system
	buf     unix.Statfs_t
	err     error
	took    time.Duration

	// Of the scraper.
	busy   bool      // a call is under way
	since  time.Time // when it began
	waited bool      // and the scrape waits for it
	slow   bool      // it used to take longer than a scrape waits
	fresh  bool      // there is an answer that has not been reported
	answer unix.Statfs_t
	fault  error // in place of an answer

	attrs struct{ used, free, reserved, all, up, info []byte }
}

var errNotVisible = errors.New("another file system is seen there")

func newFilesystem(h *Host, cfg *Config) scraper {
	f := &filesystem{
		h: h, cfg: cfg.Filesystem,
		statfs:  (*mount).statfs,
		answers: make(chan *mount, 2*maxStuck),
		grace:   time.NewTimer(statfsGrace),
	}
	f.grace.Stop()
	f.locks = locks{File: kernel.NewFile(h.proc + "/locks")}
	f.mounts.proc, f.mounts.noProc = procfs.NewFS(h.proc)
	f.mounts.pid, _ = strconv.Atoi(h.pid)
	f.mounts.file = kernel.NewFile(h.proc + "/" + h.pid + "/mountinfo")
	return f
}

func (f *filesystem) close() {
	f.mounts.file.Close()
	f.locks.Close()
}

func (f *filesystem) scrape(p *series.Points, now uint64) error {
	var errs []error
	if f.mounts.changed(now) {
		all, err := f.mounts.read(now)
		if err == nil {
			f.update(all)
		} else { // the old list is better than none
			errs = append(errs, err)
		}
	}
	f.ask()
	f.points(p)
	for _, m := range f.list {
		if err := m.complaint(); err != nil {
			errs = append(errs, err)
		}
		m.fresh = false
	}
	if f.cfg.Detail {
		if err := f.locks.scrape(p); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// update takes over a new list of mounts. What is known of a mount that stays is kept, but
// each is checked anew: another one may have been mounted above it.
func (f *filesystem) update(all []mountinfo) {
	all = slices.DeleteFunc(all, func(m mountinfo) bool {
		return matchesAny(f.cfg.ExcludeFSTypes, m.fstype) || underAny(f.cfg.ExcludeMountPoints, m.mountPoint) || m.remote() && !f.cfg.Remote
	})
	old := f.list
	f.list = nil
	for _, info := range onePerDevice(all) {
		i := slices.IndexFunc(old, func(m *mount) bool { return m.mountinfo == info })
		if i < 0 {
			f.list = append(f.list, f.newMount(info))
			continue
		}
		if !old[i].busy {
			old[i].checked = false
		}
		f.list = append(f.list, old[i])
	}
}

func (f *filesystem) newMount(info mountinfo) *mount {
	m := &mount{mountinfo: info, path: f.h.root + info.mountPoint}
	m.cpath = kernel.CString(m.path)
	if info.remote() {
		m.class = 1
	}
	m.call = func() {
		begin := time.Now()
		defer func() {
			if p := recover(); p != nil {
				m.err = fmt.Errorf("panic: %v", p)
			}
			m.took = time.Since(begin)
			f.answers <- m
		}()
		m.err = f.statfs(m)
	}

	mode := "rw"
	if info.readOnly {
		mode = "ro"
	}
	kvs := []otlp.KeyValue{
		otlp.Attr("system.device", info.source),
		otlp.Attr("system.filesystem.type", info.fstype),
		otlp.Attr("system.filesystem.mountpoint", info.mountPoint),
	}
	m.attrs.up = series.Attributes(kvs...)
	kvs = append(kvs, otlp.Attr("system.filesystem.mode", mode))
	m.attrs.all = series.Attributes(kvs...)
	m.attrs.info = series.Attributes(append(slices.Clip(kvs), otlp.Attr("system.filesystem.device_number", info.device))...)
	state := func(s string) []byte {
		return series.Attributes(append([]otlp.KeyValue{otlp.Attr("system.filesystem.state", s)}, kvs...)...)
	}
	m.attrs.used, m.attrs.free, m.attrs.reserved = state("used"), state("free"), state("reserved")
	return m
}

// ask asks every mount that does not hang, and waits a little for those that use to answer.
func (f *filesystem) ask() {
	for len(f.answers) > 0 {
		f.take(<-f.answers)
	}
	f.grace.Reset(statfsGrace)
	defer f.grace.Stop()
	for class := range f.calls {
		if !f.askAll(class) {
			break
		}
	}
	for _, m := range f.list {
		if m.waited {
			m.waited, m.slow = false, true
		}
	}
}

// askAll asks the mounts of a class and tells whether there is time left.
func (f *filesystem) askAll(class int) bool {
	waiting := 0
	for next := 0; ; {
		for ; next < len(f.list) && f.calls[class] < maxStuck; next++ {
			m := f.list[next]
			if m.class != class || m.busy {
				continue
			}
			f.calls[class]++
			m.busy, m.since, m.waited = true, time.Now(), !m.slow
			if m.waited {
				waiting++
			}
			go m.call()
		}
		if waiting == 0 {
			return true
		}
		select {
		case m := <-f.answers:
			if m.waited {
				m.waited = false
				waiting--
			}
			f.take(m)
		case <-f.grace.C:
			return false
		}
	}
}

// take takes in the answer of a mount.
func (f *filesystem) take(m *mount) {
	f.calls[m.class]--
	m.busy, m.fresh = false, true
	m.slow = m.took > statfsGrace && m.took <= statfsTimeout // one that hung may have come back: wait for it again
	m.answer, m.fault = m.buf, m.err
	if m.fault == nil && m.took > statfsTimeout {
		m.fault = fmt.Errorf("answered after %v", m.took)
	}
}

// statfs asks the kernel. That the path shows the mount at all is checked when the list of
// mounts has changed: below a root path, or in the mount namespace of a systemd unit, it can
// be the directory underneath. A btrfs subvolume has a device number of its own in stat(2).
func (m *mount) statfs() error {
	if !m.checked && m.fstype != "btrfs" {
		var st unix.Stat_t
		if err := unix.Stat(m.path, &st); err != nil {
			return err
		}
		if m.device != fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)) {
			return errNotVisible
		}
	}
	m.checked = true
	for {
		_, _, errno := unix.Syscall(unix.SYS_STATFS, uintptr(unsafe.Pointer(unsafe.SliceData(m.cpath))), uintptr(unsafe.Pointer(&m.buf)), 0)
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}

// The call above is that of 64-bit kernels; others need statfs64(2).
const _ uint = ^uint(0)>>63 - 1

// hidden tells whether the mount cannot be seen from here: below a directory closed to this
// user (contrib#37663), or not mounted in this namespace. Then it is neither up nor down.
func (m *mount) hidden() bool {
	return errors.Is(m.fault, unix.EACCES) || errors.Is(m.fault, unix.EPERM) || errors.Is(m.fault, unix.ENOENT) || m.fault == errNotVisible
}

// down tells whether the mount gave no answer or an error.
func (m *mount) down() bool {
	if m.fresh {
		return m.fault != nil && !m.hidden()
	}
	return !m.busy || time.Since(m.since) > statfsTimeout // not busy: it was refused
}

// complaint says what is wrong with a mount, once for each answer, and in each scrape while
// there is none.
func (m *mount) complaint() error {
	switch {
	case m.fresh && (m.fault == nil || errors.Is(m.fault, unix.EACCES) || errors.Is(m.fault, unix.EPERM)):
		return nil
	case m.fresh:
		return &os.PathError{Op: "statfs", Path: m.path, Err: m.fault}
	case m.busy && m.down():
		return &os.PathError{Op: "statfs", Path: m.path, Err: errHangs}
	case !m.busy:
		return &os.PathError{Op: "statfs", Path: m.path, Err: errRefused}
	}
	return nil
}

var (
	errHangs   = fmt.Errorf("no answer in %v", statfsTimeout)
	errRefused = fmt.Errorf("not asked, %d file systems hang", maxStuck)
)

func (f *filesystem) points(p *series.Points) {
	for metric := range filesystemLocks {
		if metric > filesystemUp && !f.cfg.Detail {
			break
		}
		for _, m := range f.list {
			up := m.fresh && m.fault == nil
			switch {
			case metric == filesystemUp && up:
				p.Int(metric, m.attrs.up, 1)
			case metric == filesystemUp && m.down():
				p.Int(metric, m.attrs.up, 0)
			case metric == filesystemInfo:
				p.Int(metric, m.attrs.info, 1)
			case up:
				m.points(p, metric)
			}
		}
	}
}

// points adds the mount's points of a metric. The unit of blocks is f_frsize; f_bsize, which
// others take, is a hint for reads and differs on some FUSE and NFS.
func (m *mount) points(p *series.Points, metric int) {
	s := &m.answer
	unit := uint64(s.Frsize)
	if unit == 0 {
		unit = uint64(s.Bsize)
	}
	free := min(s.Bfree, s.Blocks)
	available := min(s.Bavail, free) // of some servers it is negative, that is, huge
	if int64(s.Bavail) < 0 {
		available = 0
	}
	switch {
	case metric == filesystemUsage && s.Blocks > 0:
		p.Int(metric, m.attrs.used, (s.Blocks-free)*unit)
		p.Int(metric, m.attrs.free, available*unit)
		p.Int(metric, m.attrs.reserved, (free-available)*unit)
	case metric == filesystemUtilization && s.Blocks-free+available > 0:
		p.Float(metric, m.attrs.used, float64(s.Blocks-free)/float64(s.Blocks-free+available))
	case metric == filesystemLimit && s.Blocks > 0:
		p.Int(metric, m.attrs.all, s.Blocks*unit)
	case metric == filesystemInodes && s.Files > 0:
		inodes := min(s.Ffree, s.Files)
		p.Int(metric, m.attrs.used, s.Files-inodes)
		p.Int(metric, m.attrs.free, inodes)
	}
}
