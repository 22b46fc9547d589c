package host

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"stint/scrape/kernel"
)

// mountinfo is a line of /proc/<pid>/mountinfo.
type mountinfo struct {
	device     string // major:minor
	root       string // the directory of the file system that is mounted
	mountPoint string
	source     string
	fstype     string
	readOnly   bool
}

// mountTable reads /proc/<pid>/mountinfo when the kernel says that it has changed: the file
// raises POLLPRI for whoever keeps it open (proc_pid_mountinfo(5)).
type mountTable struct {
	proc   procfs.FS
	noProc error // why there is no proc
	pid    int   // 0 = self
	file   kernel.File
	readAt uint64
}

// mountsMaxAge is how old the list may get where the file does not tell of changes.
const mountsMaxAge = uint64(time.Minute)

// changed tells whether the table has to be read. An ordinary file, as sandboxes have in
// place of the kernel's, is known by being writable at any time, which mountinfo is not.
func (t *mountTable) changed(now uint64) bool {
	if t.file.FD() < 0 {
		t.file.Open()
		return true
	}
	fds := [1]unix.PollFd{{Fd: int32(t.file.FD()), Events: unix.POLLPRI | unix.POLLOUT}}
	_, err := unix.Poll(fds[:], 0)
	if fds[0].Revents&unix.POLLOUT != 0 {
		return now-t.readAt >= mountsMaxAge || now < t.readAt
	}
	return err != nil || fds[0].Revents != 0
}

// read returns all mounts in the order of the file, in which a later one hides an earlier one
// at the same place.
func (t *mountTable) read(now uint64) ([]mountinfo, error) {
	if t.noProc != nil {
		return nil, t.noProc
	}
	get := t.proc.GetMounts
	if t.pid != 0 {
		get = func() ([]*procfs.MountInfo, error) { return t.proc.GetProcMounts(t.pid) }
	}
	lines, err := get()
	if err != nil {
		return nil, err
	}
	t.readAt = now
	all := make([]mountinfo, 0, len(lines))
	for _, l := range lines {
		all = append(all, mountinfo{
			device:     l.MajorMinorVer,
			root:       kernel.Unescape(l.Root),
			mountPoint: kernel.Unescape(l.MountPoint),
			source:     kernel.Unescape(l.Source),
			fstype:     l.FSType,
			readOnly:   readOnly(l.Options) || readOnly(l.SuperOptions),
		})
	}
	return all, nil
}

func readOnly(options map[string]string) bool {
	_, ro := options["ro"]
	_, emergency := options["emergency_ro"] // since kernel 6.13, after an error
	return ro || emergency
}

// onePerDevice keeps of each device the mount that shows most of it, at the shortest path.
// Mounts hidden by a later one at the same place are left out.
func onePerDevice(all []mountinfo) []mountinfo {
	visible := map[string]int{}
	for i, m := range all {
		visible[m.mountPoint] = i
	}
	best := map[string]mountinfo{}
	for i, m := range all {
		if visible[m.mountPoint] != i {
			continue
		}
		if b, ok := best[m.device]; !ok || preferred(m, b) < 0 {
			best[m.device] = m
		}
	}
	var kept []mountinfo
	for i, m := range all {
		if visible[m.mountPoint] == i && best[m.device] == m {
			kept = append(kept, m)
		}
	}
	return kept
}

// preferred orders mounts of one device: the root of the file system first, then the shortest
// path, then by name.
func preferred(a, b mountinfo) int {
	rank := func(m mountinfo) int {
		if m.root == "/" {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(len(a.mountPoint), len(b.mountPoint)), strings.Compare(a.mountPoint, b.mountPoint))
}

// remote tells whether the file system needs another machine or a program to answer, so that
// asking it may take for ever.
func (m mountinfo) remote() bool {
	if m.fstype == "fuse" || m.fstype == "fuseblk" || strings.HasPrefix(m.fstype, "fuse.") {
		return true
	}
	return slices.Contains([]string{"9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "orangefs", "smb3", "smbfs"}, m.fstype)
}
