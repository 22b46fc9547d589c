package host

import (
	"bytes"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	raidState = iota
	raidDisks
	raidBlocks
	raidPaths
)

var raidMetrics = []series.Metric{
	raidState: {
		Metric: otlp.Metric{Name: "system.raid.state", Unit: "1", Instrument: otlp.UpDown,
			Description: "1 for the state that a software RAID (md) is in, 0 for the others; while active it can be recovering, check or resync at the same time."},
		Attributes: "system.device=<block device name>; system.raid.state=active|inactive|recovering|check|resync",
		Source:     "/sys/block/md*/md/array_state, sync_action",
		When:       "there is a software RAID",
	},
	raidDisks: {
		Metric: otlp.Metric{Name: "system.raid.disk.count", Unit: "{disk}", Instrument: otlp.UpDown,
			Description: "Disks of a software RAID by state, and how many it should have in use (required)."},
		Attributes: "system.device=<block device name>; system.raid.disk.state=active|failed|spare|required",
		Source:     "/sys/block/md*/md/dev-*/state, raid_disks",
		When:       "there is a software RAID",
	},
	raidBlocks: {
		Metric: otlp.Metric{Name: "system.raid.block.count", Unit: "{block}", Instrument: otlp.UpDown,
			Description: "Blocks of 1 KiB of a software RAID; while it synchronises, synced are those done so far of one disk, else all."},
		Attributes: "system.device=<block device name>; system.raid.block.state=total|synced",
		Source:     "/sys/block/md*/size, md/sync_completed",
		When:       "there is a software RAID",
	},
	raidPaths: {
		Metric: otlp.Metric{Name: "system.multipath.path.count", Unit: "{path}", Instrument: otlp.UpDown,
			Description: "Paths of a multipath device by the state of the disk that each leads to."},
		Attributes: "system.device=<block device name>; system.multipath.path.state=active|failed|total",
		Source:     "/sys/block/dm-*/slaves of those whose dm/uuid begins with mpath-, device/state",
		When:       "there is a multipath device",
	},
}

// raid is the scraper of devices that are made of others for safety.
type raid struct {
	h      *Host
	block  directory // /sys/block
	arrays []raidArray
	paths  []multipath
	small  []byte
	path   []byte
}

// raidArray is a device of the driver md.
type raidArray struct {
	md                                string    // its directory in /sys
	members                           directory // md/dev-*
	state, action, completed, require []byte    // paths
	size                              []byte
	states                            [5][]byte // attributes
	disks                             [4][]byte
	total, synced                     []byte

	// Of this scrape.
	in                  [5]uint64
	inHas               bool
	count               [4]uint64
	blocks, done        uint64
	hasDisks, hasBlocks bool
}

// States of an array, and of its disks.
const (
	raidActive = iota
	raidInactive
	raidRecovering
	raidCheck
	raidResync

	diskActive   = 0
	diskFailed   = 1
	diskSpare    = 2
	diskRequired = 3
)

// multipath is a device of the driver dm-multipath.
type multipath struct {
	slaves                directory
	active, failed, total []byte // attributes
	counts                [3]uint64
}

func newRaid(h *Host, _ *Config) scraper {
	return &raid{h: h, block: newDirectory(h.sys + "/block"), small: make([]byte, 128)}
}

func (s *raid) close() {
	s.block.close()
	s.forget()
}

func (s *raid) forget() {
	for i := range s.arrays {
		s.arrays[i].members.close()
	}
	for i := range s.paths {
		s.paths[i].slaves.close()
	}
	s.arrays, s.paths = nil, nil
}

func (s *raid) scrape(p *series.Points, _ uint64) error {
	changed, err := s.block.changed()
	if err != nil {
		return err
	}
	if changed {
		s.discover()
	}
	for i := range s.arrays {
		err = errors.Join(err, s.arrays[i].read(s))
	}
	for i := range s.paths {
		err = errors.Join(err, s.paths[i].read(s))
	}
	s.points(p)
	return err
}

// discover looks for arrays and multipath devices among the block devices.
func (s *raid) discover() {
	s.forget()
	for name := s.block.next(); name != nil; name = s.block.next() {
		dir := s.h.sys + "/block/" + string(name)
		device := otlp.Attr("system.device", strings.ReplaceAll(string(name), "!", "/"))
		switch {
		case bytes.HasPrefix(name, []byte("md")) && exists(dir+"/md"):
			a := raidArray{
				md: dir + "/md/", members: newDirectory(dir + "/md"),
				state: kernel.CString(dir + "/md/array_state"), action: kernel.CString(dir + "/md/sync_action"),
				completed: kernel.CString(dir + "/md/sync_completed"), require: kernel.CString(dir + "/md/raid_disks"),
				size:   kernel.CString(dir + "/size"),
				total:  series.Attributes(device, otlp.Attr("system.raid.block.state", "total")),
				synced: series.Attributes(device, otlp.Attr("system.raid.block.state", "synced")),
			}
			for i, state := range []string{raidActive: "active", raidInactive: "inactive", raidRecovering: "recovering", raidCheck: "check", raidResync: "resync"} {
				a.states[i] = series.Attributes(device, otlp.Attr("system.raid.state", state))
			}
			for i, state := range []string{diskActive: "active", diskFailed: "failed", diskSpare: "spare", diskRequired: "required"} {
				a.disks[i] = series.Attributes(device, otlp.Attr("system.raid.disk.state", state))
			}
			s.arrays = append(s.arrays, a)
		case bytes.HasPrefix(name, []byte("dm-")) && strings.HasPrefix(firstLine(dir+"/dm/uuid"), "mpath-"):
			s.paths = append(s.paths, multipath{
				slaves: newDirectory(dir + "/slaves"),
				active: series.Attributes(device, otlp.Attr("system.multipath.path.state", "active")),
				failed: series.Attributes(device, otlp.Attr("system.multipath.path.state", "failed")),
				total:  series.Attributes(device, otlp.Attr("system.multipath.path.state", "total")),
			})
		}
	}
}

// attribute reads a file of /sys with one word, or the first of several. One that is not there
// has none: md has no synchronisation of arrays without redundancy.
func (s *raid) attribute(path []byte) (word []byte, err error) {
	b, errno := kernel.ReadSmall(path, s.small)
	if errno != 0 && errno != unix.ENOENT && errno != unix.ENODEV {
		return nil, &os.PathError{Op: "read", Path: string(path[:len(path)-1]), Err: errno}
	}
	word, _ = kernel.Field(b)
	return word, nil
}

// read asks the array (Documentation/admin-guide/md.rst).
func (a *raidArray) read(s *raid) error {
	a.in, a.count = [5]uint64{}, [4]uint64{}
	state, err := s.attribute(a.state)
	if a.inHas = len(state) > 0; a.inHas {
		switch string(state) {
		case "clear", "inactive", "suspended":
			a.in[raidInactive] = 1
		default: // clean, active, write-pending, active-idle, readonly, read-auto, broken
			a.in[raidActive] = 1
		}
	}
	action, err2 := s.attribute(a.action)
	switch string(action) {
	case "recover", "reshape":
		a.in[raidRecovering] = 1
	case "check", "repair":
		a.in[raidCheck] = 1
	case "resync":
		a.in[raidResync] = 1
	}

	word, err3 := s.attribute(a.require)
	required, _, ok := kernel.Number(word)
	a.count[diskRequired], a.hasDisks = required, ok
	err4 := a.members.read()
	for name := a.members.next(); name != nil; name = a.members.next() {
		if !bytes.HasPrefix(name, []byte("dev-")) {
			continue
		}
		s.path = append(append(append(append(s.path[:0], a.md...), name...), "/state"...), 0)
		flags, _ := s.attribute(s.path) // as in "in_sync,write_mostly"; a disk may go meanwhile
		for len(flags) > 0 {
			var flag []byte
			flag, flags, _ = bytes.Cut(flags, []byte(","))
			switch string(flag) {
			case "in_sync":
				a.count[diskActive]++
			case "faulty":
				a.count[diskFailed]++
			case "spare":
				a.count[diskSpare]++
			}
		}
	}

	word, err5 := s.attribute(a.size)
	sectors, _, ok := kernel.Number(word)
	a.blocks, a.hasBlocks = sectors/2, ok
	a.done = a.blocks
	word, err6 := s.attribute(a.completed) // as in "123 / 456" sectors, or none
	if sectors, _, ok := kernel.Number(word); ok {
		a.done = sectors / 2
	}
	return errors.Join(err, err2, err3, err4, err5, err6)
}

// read counts the paths. A disk that is gone altogether is no slave any more.
func (m *multipath) read(s *raid) error {
	m.counts = [3]uint64{}
	err := m.slaves.read()
	for name := m.slaves.next(); name != nil; name = m.slaves.next() {
		m.counts[2]++
		s.path = append(append(append(append(append(s.path[:0], s.h.sys...), "/block/"...), name...), "/device/state"...), 0)
		switch state, _ := s.attribute(s.path); string(state) {
		case "running", "live": // of SCSI, of NVMe
			m.counts[0]++
		default:
			m.counts[1]++
		}
	}
	return err
}

func (s *raid) points(p *series.Points) {
	for i := range s.arrays {
		for state, in := range s.arrays[i].in {
			if s.arrays[i].inHas {
				p.Int(raidState, s.arrays[i].states[state], in)
			}
		}
	}
	for i := range s.arrays {
		for state, n := range s.arrays[i].count {
			if s.arrays[i].hasDisks {
				p.Int(raidDisks, s.arrays[i].disks[state], n)
			}
		}
	}
	for i := range s.arrays {
		if a := &s.arrays[i]; a.hasBlocks {
			p.Int(raidBlocks, a.total, a.blocks)
			p.Int(raidBlocks, a.synced, a.done)
		}
	}
	for i := range s.paths {
		m := &s.paths[i]
		p.Int(raidPaths, m.active, m.counts[0])
		p.Int(raidPaths, m.failed, m.counts[1])
		p.Int(raidPaths, m.total, m.counts[2])
	}
}
