package host

import "stint/scrape/kernel"

// Columns of /proc/diskstats behind the device name (Documentation/admin-guide/iostats.rst).
// Columns from dsDiscards on came with kernel 4.18, from dsFlushes on with 5.5.
const (
	dsReads = iota
	dsReadsMerged
	dsReadSectors
	dsReadMS
	dsWrites
	dsWritesMerged
	dsWriteSectors
	dsWriteMS
	dsInFlight // a level; all others count
	dsIOMS
	dsWeightedMS
	dsDiscards
	dsDiscardsMerged
	dsDiscardSectors
	dsDiscardMS
	dsFlushes
	dsFlushMS
	dsColumns
)

// sectorSize is the unit of sectors in /proc and /sys, whatever the device's own.
const sectorSize = 512

// diskstats is a line of /proc/diskstats.
type diskstats struct {
	name []byte // part of the line
	v    [dsColumns]uint64
	n    int // how many columns there are
}

func (d *diskstats) parse(l []byte) bool {
	_, rest := kernel.Field(l) // major
	_, rest = kernel.Field(rest)
	d.name, rest = kernel.Field(rest)
	d.v = [dsColumns]uint64{}
	d.n = kernel.Numbers(rest, d.v[:])
	return len(d.name) > 0 && d.n > dsWeightedMS
}
