package cgroup

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"stint/scrape/dedup"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

// entity is a cgroup whose files are read.
type entity struct {
	identity
	path    string // below the hierarchies' directories
	node    *node
	start   uint64 // start time of its counters
	scraped uint64 // time of the last scrape; 0: none yet
	checked uint64 // when rare files were read last

	fds    []int32 // by index of Cgroups.files
	choice int     // of the files of which either is read, index + 1; 0: none yet
	values
	began *[fields]uint64 // start time of counters that began anew; 0: start; nil: none did
	disks []diskCounter
	net   netns
	tasks taskCounts
	numa  []numaUsage
	usage [cpuSystem + 1]float64 // CPUs used since the last scrape, of cpuTime, cpuUser, cpuSystem
	rated fieldSet               // of which it is known

	about
	points series.Points // of containers and pods
	claims dedup.Claims  // of these
	attrs  []byte        // of units
}

// What stands in entity.fds for a file that is not open.
const (
	fdClosed = -1
	fdAbsent = -2 // the cgroup does not have it; it is looked for once a minute
)

// diskCounter is what a cgroup did on a device since start.
type diskCounter struct {
	disk
	dev   *blockDevice
	began uint64 // start time, if it began anew; 0: that of the entity
	seen  bool
}

// rareness is how often rare files are read and absent ones looked for.
const rareness = uint64(time.Minute)

// errGone says that the cgroup does not exist any more.
var errGone = errors.New("the cgroup is gone")

// read reads the files of an entity. It fails with errGone, or with the first error of a
// file, when the others were read all the same.
func (s *Cgroups) read(e *entity, now uint64) (err error) {
	r := &s.reading
	r.values, r.disks, r.numa = values{}, r.disks[:0], r.numa[:0]
	due := now-e.checked >= rareness || now < e.checked
	for i := range s.files {
		f := &s.files[i]
		switch {
		case f.kinds&(1<<e.kind) == 0 || f.empty || f.quota && !r.has.has(cpuQuota) || f.swap && !s.swap:
			continue
		case f.either && (f.second && e.choice != i || !f.second && e.choice != 0 && e.choice != i+1):
			continue
		case f.rare && !due, s.still(f) && f.fields&e.has != 0 && e.scraped == s.prev:
			(f.fields & e.has).each(func(x field) { r.set(x, e.v[x]) })
			continue
		case e.fds[i] == fdAbsent && !due:
			continue
		case f.with && e.fds[i-1] == fdAbsent:
			s.closeFile(e, i)
			e.fds[i] = fdAbsent
			continue
		}
		known := e.fds[i] == fdAbsent
		b, errno := s.content(e, i)
		switch errno {
		case 0:
		case unix.ENODEV:
			return errGone
		case unix.ENOENT:
			if known {
				continue
			}
			if _, err := os.Stat(s.tree.dir + e.path); err != nil {
				return errGone
			}
			continue
		case unix.EOPNOTSUPP: // PSI is off, or was turned off for this cgroup
			continue
		default:
			if err == nil {
				err = &os.PathError{Op: "read", Path: f.dir + e.path + "/" + f.name, Err: errno}
			}
			continue
		}
		if bad, ok := f.parse(r, b); !ok && err == nil {
			err = kernel.Malformed(f.dir+e.path+"/"+f.name, bad)
		}
		if f.either && !f.second && !rowless(b) {
			e.choice = i + 1
		}
	}
	if due {
		e.checked = now
		if e.scraped == 0 { // so that not all are due in one scrape
			s.spread = (s.spread + 7*uint64(time.Second)) % rareness
			e.checked -= s.spread
		}
	}
	e.update(&r.values, now)
	s.updateDisks(e, r.disks)
	s.updateNUMA(e, r.numa)
	e.scraped = now
	return err
}

// rowless tells that a file of blkio has no row of a device, only the sum.
func rowless(b []byte) bool { return bytes.HasPrefix(b, []byte("Total")) }

// readSums finds out which files of blkio have nothing to tell in any cgroup: a cgroup has rows of
// devices only that the root has, too, since the kernel makes what it counts in from the top down.
func (s *Cgroups) readSums() {
	look := s.now-s.summed >= rareness || s.now < s.summed
	if look {
		s.summed = s.now
	}
	some := false
	for i := range s.files {
		if f := &s.files[i]; f.sum != nil && (look || f.empty) {
			b, err := f.sum.ReadIfThere()
			f.empty = err == nil && (b == nil || rowless(b))
			some = some || b != nil
		}
	}
	for i := range s.files {
		if f := &s.files[i]; look && !some { // the root tells nothing at all
			f.empty = false
		}
	}
}

// still tells whether a file of the cgroup that is being read is as it was when it was read last.
func (s *Cgroups) still(f *file) bool {
	return f.limited && !s.reading.has.has(memLimit) || f.kills && !s.kills.some
}

// seldom tells whether it is not worth an open file.
func (s *Cgroups) seldom(f *file) bool {
	return f.rare || s.still(f) || f.kills && s.kills.known
}

// content reads file i of an entity into the buffer that all share.
func (s *Cgroups) content(e *entity, i int) ([]byte, unix.Errno) {
	f := &s.files[i]
	fd := int(e.fds[i])
	if fd < 0 {
		s.path = append(append(append(s.path[:0], f.dir...), e.path...), '/')
		s.path = append(append(s.path, f.name...), 0)
		var errno unix.Errno
		if fd, errno = kernel.Open(s.path); errno != 0 {
			e.fds[i] = fdClosed
			if errno == unix.ENOENT {
				e.fds[i] = fdAbsent
			}
			return nil, errno
		}
		e.fds[i] = fdClosed
		if s.seldom(f) || s.open >= s.maxOpen {
			defer unix.Close(fd)
		} else {
			e.fds[i] = int32(fd)
			s.open++
		}
	}
	b, errno := kernel.Pread(fd, &s.buf)
	if errno != 0 {
		s.closeFile(e, i)
		if errno == unix.EOPNOTSUPP {
			e.fds[i] = fdAbsent
		}
	}
	return b, errno
}

func (s *Cgroups) closeFile(e *entity, i int) {
	if e.fds[i] >= 0 {
		unix.Close(int(e.fds[i]))
		e.fds[i] = fdClosed
		s.open--
	}
}

// update takes in new values. A counter that is lower than it was began anew.
func (e *entity) update(v *values, now uint64) {
	both := v.has & e.has
	e.rated = 0
	for f := cpuTime; f <= cpuSystem && now > e.scraped; f++ {
		if both.has(f) && v.v[f] >= e.v[f] {
			e.usage[f] = float64(v.v[f]-e.v[f]) / float64(now-e.scraped)
			e.rated |= 1 << f
		}
	}
	(both & counters).each(func(f field) {
		if v.v[f] < e.v[f] {
			if e.began == nil {
				e.began = new([fields]uint64)
			}
			e.began[f] = e.scraped
		}
	})
	e.values = *v
}

// updateDisks takes in the rows of devices. A device without any I/O is left out; one that
// appears later, or is lower than it was, began after the scrape before.
func (s *Cgroups) updateDisks(e *entity, rows []disk) {
	for i := range e.disks {
		e.disks[i].seen = false
	}
	for i := range rows {
		row := &rows[i]
		at := slices.IndexFunc(e.disks, func(d diskCounter) bool { return d.major == row.major && d.minor == row.minor })
		if at < 0 {
			if row.v == [diskColumns]uint64{} {
				continue
			}
			at = len(e.disks)
			e.disks = append(e.disks, diskCounter{disk: *row, dev: s.device(row.major, row.minor), began: e.scraped})
		}
		d := &e.disks[at]
		d.seen = true
		for c := range row.v {
			if row.v[c] < d.v[c] && c < diskQueue { // what is beyond are levels
				d.began = e.scraped
			}
		}
		d.disk = *row
	}
	e.disks = slices.DeleteFunc(e.disks, func(d diskCounter) bool { return !d.seen })
}

// startOf is the start time of a counter.
func (e *entity) startOf(f field) uint64 {
	if e.began != nil && e.began[f] != 0 {
		return e.began[f]
	}
	return e.start
}
