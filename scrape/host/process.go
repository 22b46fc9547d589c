package host

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	procCPUTime = iota
	procMemory
	procVirtual
	procIO
	procThreads
	procOperations // from here on with detail
	procCPUUtilization
	procMemoryUtilization
	procFaults
	procUptime
	procFDs
	procFDLimit
	procSwitches
	procSignals
	procPSS // with pss
)

const procAsked = "host.process.detail is on"

var processMetrics = []series.Metric{
	procCPUTime: {
		Metric: otlp.Metric{Name: "process.cpu.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "CPU time of the process by mode; iowait, the time that it waited for block devices, only where the kernel accounts for that."},
		Attributes: "cpu.mode=user|system|iowait",
		Source:     "/proc/<pid>/stat fields 14, 15, 42",
	},
	procMemory: {
		Metric: otlp.Metric{Name: "process.memory.usage", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of the process that is resident, shared pages included."},
		Source: "/proc/<pid>/stat field 24",
	},
	procVirtual: {
		Metric: otlp.Metric{Name: "process.memory.virtual", Unit: "By", Instrument: otlp.UpDown,
			Description: "Address space of the process."},
		Source: "/proc/<pid>/stat field 23",
	},
	procIO: {
		Metric: otlp.Metric{Name: "process.disk.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes that the process made the machine read from and write to block devices."},
		Attributes: "disk.io.direction=read|write",
		Source:     "/proc/<pid>/io read_bytes, write_bytes",
		When:       "the agent may read it (CAP_SYS_PTRACE for processes of others)",
	},
	procThreads: {
		Metric: otlp.Metric{Name: "process.thread.count", Unit: "{thread}", Instrument: otlp.UpDown,
			Description: "Threads of the process."},
		Source: "/proc/<pid>/stat field 20",
	},
	procOperations: {
		Metric: otlp.Metric{Name: "process.disk.operations", Unit: "{operation}", Instrument: otlp.Counter,
			Description: "System calls of the process that read and write."},
		Attributes: "disk.io.direction=read|write",
		Source:     "/proc/<pid>/io syscr, syscw",
		When:       procAsked + " and the agent may read it",
	},
	procCPUUtilization: {
		Metric: otlp.Metric{Name: "process.cpu.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Share of all CPUs that the process used since the last scrape, 0 to 1."},
		Attributes: "cpu.mode=user|system",
		Source:     "/proc/<pid>/stat fields 14, 15",
		When:       procAsked + ", from the second scrape on",
	},
	procMemoryUtilization: {
		Metric: otlp.Metric{Name: "process.memory.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Share of the machine's memory that is resident for the process, 0 to 1."},
		Source: "/proc/<pid>/stat field 24, /proc/meminfo MemTotal",
		When:   procAsked,
	},
	procFaults: {
		Metric: otlp.Metric{Name: "process.paging.faults", Unit: "{fault}", Instrument: otlp.Counter,
			Description: "Page faults of the process: major ones had to wait for a disk."},
		Attributes: "system.paging.fault.type=major|minor",
		Source:     "/proc/<pid>/stat fields 10, 12",
		When:       procAsked,
	},
	procUptime: {
		Metric: otlp.Metric{Name: "process.uptime", Unit: "s", Instrument: otlp.Gauge, Double: true,
			Description: "Time since the process started."},
		Source: "/proc/<pid>/stat field 22",
		When:   procAsked,
	},
	procFDs: {
		Metric: otlp.Metric{Name: "process.unix.file_descriptor.count", Unit: "{file_descriptor}", Instrument: otlp.UpDown,
			Description: "Files that the process has open."},
		Source: "size of /proc/<pid>/fd (Linux 6.2), else its entries",
		When:   procAsked + " and the agent may read it (CAP_SYS_PTRACE for processes of others)",
	},
	procFDLimit: {
		Metric: otlp.Metric{Name: "process.unix.file_descriptor.limit", Unit: "{file_descriptor}", Instrument: otlp.UpDown,
			Description: "Files that the process may have open."},
		Source: "/proc/<pid>/limits Max open files, soft",
		When:   procAsked + " and there is a limit",
	},
	procSwitches: {
		Metric: otlp.Metric{Name: "process.context_switches", Unit: "{context_switch}", Instrument: otlp.Counter,
			Description: "Times that the process's main thread gave up its CPU, or was made to."},
		Attributes: "process.context_switch.type=voluntary|involuntary",
		Source:     "/proc/<pid>/status voluntary_ctxt_switches, nonvoluntary_ctxt_switches",
		When:       procAsked,
	},
	procSignals: {
		Metric: otlp.Metric{Name: "process.signals_pending", Unit: "{signal}", Instrument: otlp.UpDown,
			Description: "Signals that wait for the process or for its main thread."},
		Source: "/proc/<pid>/status SigPnd, ShdPnd",
		When:   procAsked,
	},
	procPSS: {
		Metric: otlp.Metric{Name: "process.memory.linux.pss", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of the process that is resident, with its share of pages that others have, too."},
		Source: "/proc/<pid>/smaps_rollup Pss",
		When:   "host.process.pss is on and the agent may read it (CAP_SYS_PTRACE for processes of others)",
	},
}

// process is the scraper of single processes: those that use most of the CPUs or of the memory,
// each under a resource of its own.
//
// A process is known by its number and its start, so a number that is used again is another
// one. Of the young ones, which come by the hundred where shells run, nothing is kept but that.
// Who is among the first is reported until it is far behind, so that series do not flicker.
type process struct {
	h       *Host
	cfg     Process
	dir     directory // /proc
	meminfo kernel.File
	memory  meminfo
	cpus    int // online

	procs   map[uint64]*proc // by number
	all     []*proc          // those that may be reported
	open    int              // stat files that are kept open
	maxOpen int
	scrapes uint64
	prev    uint64 // time of the last scrape
	path    []byte
	buf     []byte
	page    uint64
	warned  bool // that counts of I/O are hidden
	more    procDetail

	user, system, ioWait, read, write, major, minor []byte
}

// proc is what is known of a process.
type proc struct {
	pid      uint64
	start    uint64 // ticks since the machine started
	seen     uint64 // the scrape that last had it
	fd       int    // its stat file; -1: not open
	excluded bool
	keep     bool    // is to be reported in this scrape
	now      pidstat // without comm
	before   pidstat // in the scrape before
	load     float64 // ticks a scrape, the older the less weight
	io       pidIO
	noIO     bool // the agent may not read it

	group  *otlp.Group // nil: not reported
	points series.Points
}

func newProcess(h *Host, cfg *Config) scraper {
	modes := series.Names("cpu.mode", "user", "system", "iowait")
	directions := series.Names("disk.io.direction", "read", "write")
	faults := series.Names("system.paging.fault.type", "major", "minor")
	return &process{
		h: h, cfg: cfg.Process, dir: newDirectory(h.proc), meminfo: kernel.NewFile(h.proc + "/meminfo"),
		procs: map[uint64]*proc{}, maxOpen: maxStatFiles(), buf: make([]byte, 2<<10), page: uint64(os.Getpagesize()),
		more: newProcDetail(h.proc),
		user: modes[0], system: modes[1], ioWait: modes[2], read: directions[0], write: directions[1], major: faults[0], minor: faults[1],
	}
}

// maxStats bounds the stat files that are kept open: 4 MiB of kernel memory, which counts as the
// agent's. Those of further processes are opened each time.
const maxStats = 1024

// maxStatFiles leaves seven of eight descriptors that the agent may have to others.
func maxStatFiles() int {
	l := unix.Rlimit{Cur: 1024}
	unix.Getrlimit(unix.RLIMIT_NOFILE, &l) // cannot fail
	return int(min(l.Cur/8, maxStats))
}

func (s *process) close() {
	s.dir.close()
	s.meminfo.Close()
	for _, q := range s.procs {
		s.closeStat(q)
	}
}

// scrape is not that of others: see scrapeEach.
func (s *process) scrape(*series.Points, uint64) error { return nil }

// scrapeEach hands over the points of each process under its own resource.
func (s *process) scrapeEach(boot, now uint64, hand func(*otlp.Group, []byte, int)) error {
	if boot == 0 {
		return nil // without it the age of a process is unknown; others report why
	}
	if err := s.list(boot, now); err != nil {
		return err
	}
	s.choose(boot)
	if s.cfg.Detail {
		if err := s.machine(now); err != nil {
			return err
		}
	}
	for _, q := range s.all {
		if q.group == nil {
			continue
		}
		if !q.noIO {
			s.readIO(q)
		}
		q.points.Begin(boot + q.start*(1e9/userHZ))
		s.points(q, &q.points, boot, now)
		if series := q.points.Commit(now); series.Len() > 0 {
			hand(q.group, series.Bytes(), series.Len())
		}
	}
	s.prev = now
	return nil
}

// machine reads what utilizations are shares of.
func (s *process) machine(now uint64) error {
	b, err := s.meminfo.Read()
	if err == nil {
		err = parseMeminfo(&s.memory, b)
	}
	s.h.stat.mu.Lock()
	defer s.h.stat.mu.Unlock()
	st, err2 := s.h.stat.read(now)
	s.cpus = st.online
	return errors.Join(err, err2)
}

// file makes the path of a file of a process, with a NUL.
func (s *process) file(pid uint64, name string) []byte {
	s.path = append(append(s.path[:0], s.h.proc...), '/')
	s.path = append(append(strconv.AppendUint(s.path, pid, 10), name...), 0)
	return s.path
}

// list reads all processes, and forgets those that ended.
func (s *process) list(boot, now uint64) error {
	if err := s.dir.read(); err != nil {
		return err
	}
	s.scrapes++
	s.all = s.all[:0]
	for name := s.dir.next(); name != nil; name = s.dir.next() {
		pid, _, ok := kernel.Number(name)
		if !ok {
			continue
		}
		q := s.procs[pid]
		var st pidstat
		if b, errno := s.readStat(pid, q); errno != 0 || !st.parse(b) { // it ended just now
			continue
		}
		if q == nil || q.start != st.start {
			if q != nil {
				s.closeStat(q)
			}
			q = &proc{pid: pid, start: st.start, fd: -1}
			comm := string(st.comm)
			q.excluded = !selected(s.cfg.Include, s.cfg.Exclude, comm) || s.elsewhere(pid)
			s.procs[pid] = q
		} else {
			q.before = q.now
			ticks := float64(st.user + st.system - min(q.before.user+q.before.system, st.user+st.system))
			q.load = (q.load + ticks) / 2
		}
		st.comm = nil // of the buffer
		q.now, q.seen, q.keep = st, s.scrapes, false
		if born := boot + q.start*(1e9/userHZ); !q.excluded && now >= born+uint64(s.cfg.MinAge) {
			s.all = append(s.all, q)
		}
	}
	for pid, q := range s.procs {
		if q.seen != s.scrapes {
			s.closeStat(q)
			delete(s.procs, pid)
		}
	}
	return nil
}

// readStat reads the stat file of the process with a number; q is who had it in the scrape
// before, nil: nobody.
func (s *process) readStat(pid uint64, q *proc) ([]byte, unix.Errno) {
	if q != nil && q.fd >= 0 {
		if b, errno := kernel.Pread(q.fd, &s.buf); errno == 0 {
			return b, 0
		}
		s.closeStat(q)
	}
	if q == nil || s.open >= s.maxOpen {
		return kernel.ReadSmall(s.file(pid, "/stat"), s.buf)
	}
	fd, errno := kernel.Open(s.file(pid, "/stat"))
	if errno != 0 {
		return nil, errno
	}
	q.fd = fd
	s.open++
	return kernel.Pread(fd, &s.buf)
}

func (s *process) closeStat(q *proc) {
	if q.fd >= 0 {
		unix.Close(q.fd)
		q.fd = -1
		s.open--
	}
}

// elsewhere tells whether a process is in a cgroup that is not wanted.
func (s *process) elsewhere(pid uint64) bool {
	if len(s.cfg.Cgroups)+len(s.cfg.ExcludeCgroups) == 0 {
		return false
	}
	cgroup := processCgroup(s.h.proc + "/" + strconv.FormatUint(pid, 10) + "/cgroup")
	return len(s.cfg.Cgroups) > 0 && !underAny(s.cfg.Cgroups, cgroup) || underAny(s.cfg.ExcludeCgroups, cgroup)
}

// choose says who is reported: the first by CPU time and the first by memory, and who was so
// far as long as it is among twice as many.
func (s *process) choose(boot uint64) {
	byCPU := func(a, b *proc) int { return cmp.Or(-cmp.Compare(a.load, b.load), cmp.Compare(a.pid, b.pid)) }
	byMemory := func(a, b *proc) int {
		return cmp.Or(-cmp.Compare(a.now.resident, b.now.resident), cmp.Compare(a.pid, b.pid))
	}
	top := min(s.cfg.Top, len(s.all))
	stay := min(2*s.cfg.Top, len(s.all))
	for _, order := range [...]func(a, b *proc) int{byCPU, byMemory} {
		slices.SortFunc(s.all, order)
		for i, q := range s.all[:stay] {
			q.keep = q.keep || i < top || q.group != nil
		}
	}
	for _, q := range s.all {
		switch {
		case !q.keep:
			q.group, q.points = nil, series.Points{}
		case q.group == nil:
			q.group, q.points = s.describe(q, boot), series.Points{Table: processMetrics}
		}
	}
	slices.SortFunc(s.all, func(a, b *proc) int { return cmp.Compare(a.pid, b.pid) })
}

// readIO reads what a process read and wrote.
func (s *process) readIO(q *proc) {
	b, errno := kernel.ReadSmall(s.file(q.pid, "/io"), s.buf)
	if errno == unix.EACCES || errno == unix.EPERM {
		q.noIO = true
		if !s.warned {
			s.warned = true
			s.h.log.Info("I/O of processes of other users is hidden; it takes CAP_SYS_PTRACE to see it", "file", s.h.proc+"/<pid>/io")
		}
	}
	if q.io = (pidIO{}); errno == 0 {
		q.io.parse(b)
	}
}

func (s *process) points(q *proc, p *series.Points, boot, now uint64) {
	st := &q.now
	p.Float(procCPUTime, s.user, float64(st.user)/userHZ)
	p.Float(procCPUTime, s.system, float64(st.system)/userHZ)
	if st.ioWait > 0 {
		p.Float(procCPUTime, s.ioWait, float64(st.ioWait)/userHZ)
	}
	p.Int(procMemory, nil, st.resident*s.page)
	p.Int(procVirtual, nil, st.virtual)
	if q.io.ok {
		p.Int(procIO, s.read, q.io.readBytes)
		p.Int(procIO, s.write, q.io.writeBytes)
	}
	p.Int(procThreads, nil, st.threads)
	if s.cfg.Detail {
		s.detail(q, p, boot, now)
	}
	if s.cfg.PSS {
		if pss, ok := s.more.pss(s.file(q.pid, "/smaps_rollup")); ok {
			p.Int(procPSS, nil, pss)
		}
	}
}

// detail adds what is off by default.
func (s *process) detail(q *proc, p *series.Points, boot, now uint64) {
	st := &q.now
	if q.io.ok {
		p.Int(procOperations, s.read, q.io.reads)
		p.Int(procOperations, s.write, q.io.writes)
	}
	if passed := float64(now-s.prev) / 1e9; s.prev > 0 && now > s.prev && s.cpus > 0 && q.before.threads > 0 {
		share := func(is, was uint64) float64 { return float64(is-min(was, is)) / userHZ / (passed * float64(s.cpus)) }
		p.Float(procCPUUtilization, s.user, share(st.user, q.before.user))
		p.Float(procCPUUtilization, s.system, share(st.system, q.before.system))
	}
	if total := s.memory.v[memTotal]; total > 0 {
		p.Float(procMemoryUtilization, nil, float64(st.resident*s.page)/float64(total))
	}
	p.Int(procFaults, s.major, st.major)
	p.Int(procFaults, s.minor, st.minor)
	p.Float(procUptime, nil, math.Max(0, float64(now)-float64(boot))/1e9-float64(q.start)/userHZ)
	s.more.points(s, q, p)
}

// pidIO is /proc/<pid>/io.
type pidIO struct {
	reads, writes         uint64 // system calls
	readBytes, writeBytes uint64 // of block devices
	ok                    bool
}

func (s *pidIO) parse(b []byte) {
	s.ok = true
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		key, value, _ := bytes.Cut(l, []byte(":"))
		var to *uint64
		switch string(key) {
		case "syscr":
			to = &s.reads
		case "syscw":
			to = &s.writes
		case "read_bytes":
			to = &s.readBytes
		case "write_bytes":
			to = &s.writeBytes
		default:
			continue
		}
		n, _, ok := kernel.Number(value)
		*to, s.ok = n, s.ok && ok
	}
}

// describe makes the resource of a process: the machine's with what tells of the process.
func (s *process) describe(q *proc, boot uint64) *otlp.Group {
	dir := s.h.proc + "/" + strconv.FormatUint(q.pid, 10)
	kvs := slices.Clip(s.h.resource)
	add := func(key, value string) {
		if value != "" {
			kvs = append(kvs, otlp.Attr(key, value))
		}
	}
	kvs = append(kvs, otlp.KeyValue{Key: "process.pid", Value: otlp.Int(int64(q.pid))},
		otlp.KeyValue{Key: "process.parent_pid", Value: otlp.Int(int64(q.now.ppid))})
	exe, _ := os.Readlink(dir + "/exe") // needs CAP_SYS_PTRACE for processes of others; kernel threads have none
	name := firstLine(dir + "/comm")
	if exe != "" {
		name = path.Base(exe)
	}
	add("process.executable.name", name)
	add("process.executable.path", exe)
	args := commandLine(dir + "/cmdline")
	if len(args) > 0 {
		add("process.command", args[0])
	}
	if s.cfg.CommandLine {
		add("process.command_line", redact(args))
	}
	add("process.creation.time", time.Unix(0, int64(boot+q.start*(1e9/userHZ))).UTC().Format("2006-01-02T15:04:05.000Z"))
	cgroup := processCgroup(dir + "/cgroup")
	add("process.linux.cgroup", cgroup)
	add("container.id", containerID(cgroup))
	return otlp.NewGroup(kvs, otlp.SchemaURL, "stint/scrape/host", s.h.version)
}
