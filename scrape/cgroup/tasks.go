package cgroup

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"stint/scrape/kernel"
	"stint/scrape/series"
)

// taskCounts is what the processes of a container have open, and how long they ran and waited.
type taskCounts struct {
	count               uint64
	files, sockets      uint64
	limit               uint64 // of open files; 0: none
	ran, waited         uint64 // ns
	known, open, linked bool   // count; files; sockets
	timed               bool   // ran and waited
	all                 []task // those of the last scrape, by number
}

// task is what a process had when it was looked at last.
type task struct{ pid, ran, waited uint64 }

// tasks keeps the buffers for reading processes.
type tasks struct {
	procs            []byte // content of cgroup.procs
	all              []task
	entries          [8 << 10]byte
	target           [16]byte
	path             []byte
	running, waiting []byte // attributes
	stat             unix.Stat_t
	sized            bool // /proc is of the kernel, where sizes of directories may tell
}

func newTasks(root string) tasks {
	states := series.Names("cpu.sched.state", "running", "waiting")
	var st unix.Statfs_t
	sized := unix.Statfs(root+"/proc", &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
	return tasks{running: states[0], waiting: states[1], sized: sized}
}

// maxTasks bounds the processes of a container that are looked at; all are counted.
const maxTasks = 4096

var (
	procFD        = kernel.CString("fd")
	procLimits    = kernel.CString("limits")
	procSchedstat = kernel.CString("schedstat")
	errManyTasks  = fmt.Errorf("more than %d processes; files and times of the others are left out", maxTasks)
)

// readTasks looks at each process of a container. One that ends meanwhile is left out; so are
// files where the agent may not see them, and all but the count where it has a pid namespace
// of its own, in which others have no number.
func (s *Cgroups) readTasks(e *entity) (err error) {
	t, buf := &e.tasks, &s.tasks
	was := *t
	*t = taskCounts{ran: was.ran, waited: was.waited, all: was.all}
	s.path = append(append(append(s.path[:0], s.tree.dir...), e.path...), "/cgroup.procs\x00"...)
	fd, errno := kernel.Open(s.path)
	if errno != 0 {
		return nil // its other files say so
	}
	b, errno := kernel.PreadList(fd, &buf.procs)
	unix.Close(fd)
	if errno != 0 { // EOPNOTSUPP: a threaded cgroup
		return nil
	}
	buf.all = buf.all[:0]
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		pid, rest, ok := kernel.Number(l)
		if !ok || !blank(rest) {
			return fmt.Errorf("processes of %s: %w", e.path, kernel.Malformed("cgroup.procs", l))
		}
		if t.count++; t.count > maxTasks {
			err = errManyTasks
		} else if pid > 0 {
			s.readTask(t, pid)
		}
	}
	// In a pid namespace of its own the agent sees a 0 for each process on v2, and nothing on v1.
	t.known = t.count > 0
	slices.SortStableFunc(buf.all, func(a, b task) int { return int(a.pid) - int(b.pid) })
	for _, q := range buf.all {
		i, found := slices.BinarySearchFunc(was.all, q.pid, func(a task, pid uint64) int { return int(a.pid) - int(pid) })
		old := task{}
		if found && was.all[i].ran <= q.ran && was.all[i].waited <= q.waited {
			old = was.all[i]
		}
		t.ran += q.ran - old.ran
		t.waited += q.waited - old.waited
	}
	t.all = append(t.all[:0], buf.all...)
	t.timed = was.timed || len(buf.all) > 0
	if err != nil {
		return fmt.Errorf("processes of %s: %w", e.path, err)
	}
	return nil
}

func (s *Cgroups) readTask(t *taskCounts, pid uint64) {
	buf := &s.tasks
	buf.path = append(strconv.AppendUint(append(append(buf.path[:0], s.root...), "/proc/"...), pid, 10), 0)
	dir, errno := kernel.Open(buf.path)
	if errno != 0 {
		return
	}
	defer unix.Close(dir)
	if fd, errno := kernel.OpenAt(dir, procFD); errno == 0 {
		s.countFiles(t, fd)
		unix.Close(fd)
	}
	if t.limit == 0 && t.count == 1 {
		t.limit = kernel.OpenFilesLimit(s.taskFile(dir, procLimits))
	}
	var v [2]uint64 // ns on a CPU, ns of waiting for one
	if kernel.Numbers(s.taskFile(dir, procSchedstat), v[:]) == len(v) {
		buf.all = append(buf.all, task{pid, v[0], v[1]})
	}
}

func (s *Cgroups) taskFile(dir int, name []byte) []byte {
	fd, errno := kernel.OpenAt(dir, name)
	if errno != 0 {
		return nil
	}
	defer unix.Close(fd)
	b, _ := kernel.PreadList(fd, &s.buf)
	return b
}

// countFiles counts the entries of /proc/<pid>/fd. Since Linux 6.2 their number is the size of
// the directory; of others it is 0. What they are takes a system call each.
func (s *Cgroups) countFiles(t *taskCounts, fd int) {
	buf := &s.tasks
	if buf.sized && !s.cfg.Processes.Detail && unix.Fstat(fd, &buf.stat) == nil && buf.stat.Size > 0 {
		t.files, t.open = t.files+uint64(buf.stat.Size), true
		return
	}
	for {
		n, err := unix.ReadDirent(fd, buf.entries[:])
		if err != nil {
			return
		}
		t.open, t.linked = true, t.linked || s.cfg.Processes.Detail
		if n <= 0 {
			return
		}
		for b := buf.entries[:n]; len(b) > direntName; {
			length := int(binary.NativeEndian.Uint16(b[direntLength:]))
			if length <= direntName || length > len(b) {
				return
			}
			name := b[direntName:length]
			b = b[length:]
			if name[0] == '.' {
				continue
			}
			t.files++
			if s.cfg.Processes.Detail && bytes.HasPrefix(buf.target[:readlinkAt(fd, name, buf.target[:])], []byte("socket:")) {
				t.sockets++
			}
		}
	}
}

const (
	direntLength = int(unsafe.Offsetof(unix.Dirent{}.Reclen))
	direntName   = int(unsafe.Offsetof(unix.Dirent{}.Name))
)

// readlinkAt is readlinkat(2) of a name that ends in NUL; unix.Readlinkat would copy it.
func readlinkAt(dir int, name, target []byte) int {
	n, _, errno := unix.Syscall6(unix.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(name))),
		uintptr(unsafe.Pointer(unsafe.SliceData(target))), uintptr(len(target)), 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (s *Cgroups) emitTasks(w writer) {
	t := &w.e.tasks
	w.level(containerProcessCount, t.count, t.known)
	w.level(containerFDs, t.files, t.open)
	w.level(containerSockets, t.sockets, t.linked)
	w.level(containerFDLimit, t.limit, t.limit > 0)
	if t.timed {
		w.p.Start = w.e.start
		w.p.Float(containerSchedTime, s.tasks.running, float64(t.ran)/1e9)
		w.p.Float(containerSchedTime, s.tasks.waiting, float64(t.waited)/1e9)
	}
}
