package host

import (
	"errors"

	"stint/scrape/kernel"
)

var errNoMemTotal = errors.New("/proc/meminfo: no MemTotal")

// What is taken from /proc/meminfo.
const (
	memTotal = iota
	memFree
	memAvailable // since kernel 3.14
	memBuffers
	memCached
	memShmem
	memSReclaimable
	memSUnreclaim
	memDirty
	memWriteback
	memCommitted
	memCommitLimit
	memHardwareCorrupted
	memHugepagesTotal // pages, as all of HugePages_*
	memHugepagesFree
	memHugepagesReserved
	memHugepagesSurplus
	memHugepageSize
	memFields
)

var meminfoIndex = withDetailFields(map[string]int{
	"MemTotal:":          memTotal,
	"MemFree:":           memFree,
	"MemAvailable:":      memAvailable,
	"Buffers:":           memBuffers,
	"Cached:":            memCached,
	"Shmem:":             memShmem,
	"SReclaimable:":      memSReclaimable,
	"SUnreclaim:":        memSUnreclaim,
	"Dirty:":             memDirty,
	"Writeback:":         memWriteback,
	"Committed_AS:":      memCommitted,
	"CommitLimit:":       memCommitLimit,
	"HardwareCorrupted:": memHardwareCorrupted,
	"HugePages_Total:":   memHugepagesTotal,
	"HugePages_Free:":    memHugepagesFree,
	"HugePages_Rsvd:":    memHugepagesReserved,
	"HugePages_Surp:":    memHugepagesSurplus,
	"Hugepagesize:":      memHugepageSize,
})

// withDetailFields adds the fields of memoryDetails.
func withDetailFields(index map[string]int) map[string]int {
	field := memFields
	for _, d := range memoryDetails {
		for _, f := range d.fields {
			index[f.name+":"] = field
			field++
		}
	}
	return index
}

// meminfo is /proc/meminfo: bytes, or pages where the file gives no unit.
type meminfo struct {
	v   [memFields + memDetails]uint64
	has [memFields + memDetails]bool
}

// memDetails is how many fields memoryDetails have; they come behind the others.
const memDetails = 20

func parseMeminfo(m *meminfo, b []byte) error {
	clear(m.has[:])
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		word, rest := kernel.Field(l)
		i, ok := meminfoIndex[string(word)]
		if !ok {
			continue
		}
		v, rest, ok := kernel.Number(rest)
		unit, _ := kernel.Field(rest)
		if !ok || v > 1<<53 { // 2^53 KiB are more than any machine has
			return kernel.Malformed("/proc/meminfo", l)
		}
		if string(unit) == "kB" {
			v *= 1024
		}
		m.v[i], m.has[i] = v, true
	}
	if !m.has[memTotal] {
		return errNoMemTotal
	}
	return nil
}
