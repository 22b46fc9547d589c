package cgroup

import (
	"bytes"
	"math"
	"math/bits"

	"stint/scrape/kernel"
)

// field is a figure that a file of a cgroup tells. Times are in ns, sizes in bytes.
type field uint8

const (
	cpuTime field = iota
	cpuUser
	cpuSystem
	cpuPeriods
	cpuThrottled
	cpuThrottledTime
	cpuBursts
	cpuBurstTime
	cpuQuota  // µs a period; absent: none
	cpuPeriod // µs
	cpuShares

	memUsage
	memRSS
	memActiveFile
	memInactiveFile
	memCache
	memMapped
	memKernel
	memShmem
	memDirty
	memWriteback
	memSwap
	memPeak
	memLimit     // absent: none
	memMin       // 0: none
	memLow       // 0: none
	memSwapLimit // absent: none
	memAndSwapLimit
	memFaults // major ones included
	memMajorFaults
	memScanned
	memReclaimed
	memRefaultAnon
	memRefaultFile
	memEventLow // and the others in the order of memoryEvents
	memEventHigh
	memEventMax
	memEventOOM
	memEventOOMKill
	memEventOOMGroupKill

	pidsCount
	pidsLimit // absent: none
	pidsLimitHits
	pidsProcesses

	psiCPUSome
	psiCPUFull
	psiMemorySome
	psiMemoryFull
	psiIOSome
	psiIOFull

	hugetlbUsage // of the first size; then those of the others
	hugetlbHits  = hugetlbUsage + maxHugeSizes
	unused       = hugetlbHits + maxHugeSizes // of words that only show that a file is the right one
	fields       = unused + 1
)

var _ [64 - fields]struct{} // fieldSet has room

// maxHugeSizes bounds the sizes of huge pages; arm64 has four, no machine more.
const maxHugeSizes = 4

// fieldSet is a set of fields.
type fieldSet uint64

func setOf(fs ...field) (s fieldSet) {
	for _, f := range fs {
		s |= 1 << f
	}
	return s
}

func (s fieldSet) has(f field) bool { return s&(1<<f) != 0 }

// each calls do for each field of the set.
func (s fieldSet) each(do func(field)) {
	for ; s != 0; s &= s - 1 {
		do(field(bits.TrailingZeros64(uint64(s))))
	}
}

// counters are the fields that only grow as long as their cgroup lives.
var counters = setOf(cpuTime, cpuUser, cpuSystem, cpuPeriods, cpuThrottled, cpuThrottledTime, cpuBursts, cpuBurstTime,
	memFaults, memMajorFaults, memScanned, memReclaimed, memRefaultAnon, memRefaultFile,
	memEventLow, memEventHigh, memEventMax, memEventOOM, memEventOOMKill, memEventOOMGroupKill, pidsLimitHits,
	psiCPUSome, psiCPUFull, psiMemorySome, psiMemoryFull, psiIOSome, psiIOFull,
	hugetlbHits, hugetlbHits+1, hugetlbHits+2, hugetlbHits+3)

// values are the figures of a cgroup at one time.
type values struct {
	v   [fields]uint64
	has fieldSet
}

func (v *values) set(f field, n uint64) {
	v.v[f] = n
	v.has |= 1 << f
}

// reading is what the files of one cgroup told in one scrape.
type reading struct {
	values
	disks []disk
	numa  []numaRow
}

// disk is what a cgroup did on a block device.
type disk struct {
	major, minor uint32
	v            [diskColumns]uint64
	costs        bool  // the kernel accounts for costs (the controller iocost)
	queued       uint8 // which of diskQueues it told, a bit each
}

const (
	diskReadBytes = iota
	diskWriteBytes
	diskReads
	diskWrites
	diskDiscardBytes
	diskCost                                // µs, in the order of diskCosts
	diskQueue   = diskCost + len(diskCosts) // in the order of diskQueues
	diskColumns = diskQueue + len(diskQueues)
)

// diskCosts are what io.stat tells of the controller iocost, and how its lines call it.
var diskCosts = [...]string{"usage", "wait", "indebt", "indelay"}

// diskQueues are what the scheduler BFQ tells on v1, in a kernel that was built to debug it.
var diskQueues = [...]string{"io_time", "io_wait", "merged", "queued", "sectors"}

// maxDisks bounds the devices of one cgroup.
const maxDisks = 256

// disk finds or makes the row of a device, nil if there are too many.
func (r *reading) disk(major, minor uint32) *disk {
	for i := range r.disks {
		if d := &r.disks[i]; d.major == major && d.minor == minor {
			return d
		}
	}
	if len(r.disks) >= maxDisks {
		return nil
	}
	r.disks = append(r.disks, disk{major: major, minor: minor})
	return &r.disks[len(r.disks)-1]
}

// parser takes in the content of a file. It returns the line that it cannot make out, and
// whether it made out all; what stood before a bad line counts.
type parser func(r *reading, b []byte) (bad []byte, ok bool)

// noLimit is what v1 prints for none is just below 2^63, rounded down to a page.
const noLimit = 1 << 62

// amount reads a file that holds one number.
func amount(f field, unit uint64) parser {
	return func(r *reading, b []byte) ([]byte, bool) {
		n, rest, ok := kernel.Number(b)
		if !ok || !blank(rest) {
			return b, false
		}
		r.set(f, n*unit)
		return nil, true
	}
}

// lines parses a file that has a line for each of what it tells.
func lines(f field) parser {
	return func(r *reading, b []byte) ([]byte, bool) {
		r.set(f, uint64(bytes.Count(b, []byte("\n"))))
		return nil, true
	}
}

// limit reads a file that holds one number, or that there is no limit: max, or -1, or a
// number that no machine has.
func limit(f field) parser {
	return func(r *reading, b []byte) ([]byte, bool) {
		if word, rest := kernel.Field(b); blank(rest) && (string(word) == "max" || string(word) == "-1") {
			return nil, true
		}
		n, rest, ok := kernel.Number(b)
		if !ok || !blank(rest) {
			return b, false
		}
		if n < noLimit {
			r.set(f, n)
		}
		return nil, true
	}
}

func blank(b []byte) bool { return len(bytes.TrimSpace(b)) == 0 }

// key is where the number behind a word of a file belongs, and its unit.
type key struct {
	field field
	unit  uint64
}

// keyed reads lines of a word and a number. Words that it does not know are left alone, but
// a file without any that it knows is not what it should be.
//
// The words of a file are mostly those of the file before, in the same order: what they mean is
// looked up once.
func keyed(keys map[string]key) parser {
	var seen []keyedWord // by line; at most maxWords
	return func(r *reading, b []byte) ([]byte, bool) {
		first, found := b, false
		for i := 0; len(b) > 0; i++ {
			var l []byte
			l, b = kernel.Line(b)
			var w keyedWord
			var rest []byte
			if i < len(seen) && len(l) > len(seen[i].word) && l[len(seen[i].word)] == ' ' && string(l[:len(seen[i].word)]) == seen[i].word {
				w = seen[i]
				rest = l[len(w.word):]
			} else {
				var word []byte
				word, rest = kernel.Field(l)
				w.key, w.known = keys[string(word)]
				if i == len(seen) && i < maxWords && bytes.HasPrefix(l, word) && len(word) > 0 {
					w.word = string(word)
					seen = append(seen, w)
				}
			}
			if !w.known {
				continue
			}
			n, rest, ok := kernel.Number(rest)
			if !ok || len(rest) > 0 && !blank(rest) {
				return l, false
			}
			r.set(w.field, n*w.unit)
			found = true
		}
		if !found {
			l, _ := kernel.Line(first)
			return l, false
		}
		return nil, true
	}
}

// keyedWord is a word at the start of a line, and what the number behind it is.
type keyedWord struct {
	word string
	key
	known bool
}

// maxWords bounds the lines of which the words are kept; memory.stat has some 80.
const maxWords = 128

// cpuMax reads cpu.max of v2: the quota or max, and the period.
func cpuMax(r *reading, b []byte) ([]byte, bool) {
	quota, rest := kernel.Field(b)
	period, rest, ok := kernel.Number(rest)
	if !ok || period == 0 || !blank(rest) {
		return b, false
	}
	if string(quota) == "max" {
		return nil, true
	}
	n, _, ok := kernel.Number(quota)
	if !ok {
		return b, false
	}
	r.set(cpuQuota, n)
	r.set(cpuPeriod, period)
	return nil, true
}

// cpuWeight reads cpu.weight of v2 (1 to 10000, 0 for an idle group) as shares of v1 (2 to
// 262144), by the formula that runtimes set it with.
func cpuWeight(r *reading, b []byte) ([]byte, bool) {
	w, rest, ok := kernel.Number(b)
	if !ok || w > 10_000 || !blank(rest) {
		return b, false
	}
	r.set(cpuShares, 2+(max(w, 1)-1)*262142/9999)
	return nil, true
}

// pressure reads a pressure file: lines "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and
// "full …", where total is in µs.
func pressure(some, full field) parser {
	return func(r *reading, b []byte) ([]byte, bool) {
		first, found := b, false
		for len(b) > 0 {
			var l []byte
			l, b = kernel.Line(b)
			f := some
			switch word, _ := kernel.Field(l); string(word) {
			case "some":
			case "full":
				f = full
			default:
				continue
			}
			at := bytes.LastIndex(l, []byte(" total="))
			if at < 0 {
				return l, false
			}
			us, rest, ok := kernel.Number(l[at+len(" total="):])
			if !ok || !blank(rest) || us > math.MaxUint64/1000 {
				return l, false
			}
			r.set(f, us*1000)
			found = true
		}
		if !found {
			l, _ := kernel.Line(first)
			return l, false
		}
		return nil, true
	}
}

// ioStat reads io.stat of v2: lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6".
// Some kernels (5.x) leave out the newline behind a device that has no figures.
func ioStat(r *reading, b []byte) ([]byte, bool) {
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		var d *disk
		for word, rest := kernel.Field(l); len(word) > 0; word, rest = kernel.Field(rest) {
			name, value, ok := bytes.Cut(word, []byte("="))
			if !ok {
				major, minor, ok := device(word)
				if !ok {
					return l, false
				}
				d = r.disk(major, minor)
				if d == nil {
					break
				}
				continue
			}
			if d == nil {
				return l, false
			}
			column := costColumn(name)
			switch string(name) {
			case "rbytes":
				column = diskReadBytes
			case "wbytes":
				column = diskWriteBytes
			case "rios":
				column = diskReads
			case "wios":
				column = diskWrites
			case "dbytes":
				column = diskDiscardBytes
			}
			if column < 0 {
				continue
			}
			n, _, ok := kernel.Number(value)
			if !ok {
				return l, false
			}
			d.v[column] = n
			d.costs = d.costs || column >= diskCost
		}
	}
	return nil, true
}

// costColumn is the column of cost.usage and the like, -1 of others.
func costColumn(name []byte) int {
	name, ok := bytes.CutPrefix(name, []byte("cost."))
	for i, c := range diskCosts {
		if ok && string(name) == c {
			return diskCost + i
		}
	}
	return -1
}

// blkioQueue reads a file of v1 of which the sums count: lines "8:0 Total 3", or "8:0 3".
func blkioQueue(queue int) parser {
	return func(r *reading, b []byte) ([]byte, bool) {
		for len(b) > 0 {
			var l []byte
			l, b = kernel.Line(b)
			dev, rest := kernel.Field(l)
			if string(dev) == "Total" || len(dev) == 0 {
				continue
			}
			major, minor, ok := device(dev)
			op, after := kernel.Field(rest)
			if string(op) == "Total" {
				rest = after
			} else if _, _, number := kernel.Number(op); !number && len(op) > 0 {
				continue // Read, Write, Sync, …
			}
			n, rest, ok2 := kernel.Number(rest)
			if !ok || !ok2 || !blank(rest) {
				return l, false
			}
			if d := r.disk(major, minor); d != nil {
				d.v[diskQueue+queue] = n
				d.queued |= 1 << queue
			}
		}
		return nil, true
	}
}

// blkio reads a file of v1: lines "8:0 Read 1", "8:0 Write 2" and others, and at the end
// "Total 3".
func blkio(read, write int) parser {
	return func(r *reading, b []byte) ([]byte, bool) {
		for len(b) > 0 {
			var l []byte
			l, b = kernel.Line(b)
			dev, rest := kernel.Field(l)
			if string(dev) == "Total" || len(dev) == 0 {
				continue
			}
			major, minor, ok := device(dev)
			op, rest := kernel.Field(rest)
			n, rest, ok2 := kernel.Number(rest)
			if !ok || !ok2 || !blank(rest) {
				return l, false
			}
			column := -1
			switch string(op) {
			case "Read":
				column = read
			case "Write":
				column = write
			default:
				continue
			}
			if d := r.disk(major, minor); d != nil {
				d.v[column] = n
			}
		}
		return nil, true
	}
}

// device reads MAJOR:MINOR.
func device(word []byte) (major, minor uint32, ok bool) {
	a, b, ok := bytes.Cut(word, []byte(":"))
	m, rest, ok1 := kernel.Number(a)
	n, rest2, ok2 := kernel.Number(b)
	if !ok || !ok1 || !ok2 || len(rest)+len(rest2) > 0 || m >= 1<<12 || n >= 1<<20 {
		return 0, 0, false
	}
	return uint32(m), uint32(n), true
}
