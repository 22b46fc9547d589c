package host

import (
	"bytes"

	"stint/scrape/kernel"
)

// Columns of /proc/net/dev.
const (
	ndReceiveBytes = iota
	ndReceivePackets
	ndReceiveErrors
	ndReceiveDropped  // with those that the device had no room for
	ndTransmitBytes   = 8
	ndTransmitPackets = 9
	ndTransmitErrors  = 10
	ndTransmitDropped = 11
	ndColumns         = 16
)

// netdev is a line of /proc/net/dev.
type netdev struct {
	name []byte // part of the line
	v    [ndColumns]uint64
}

// parse reads a line; head tells that it is one of the two above the table.
func (d *netdev) parse(l []byte) (head, ok bool) {
	name, rest, ok := bytes.Cut(l, []byte(":")) // a blank need not follow
	if !ok {
		return bytes.IndexByte(l, '|') >= 0, false
	}
	var left []byte
	d.name, left = kernel.Field(name)
	return false, len(d.name) > 0 && len(left) == 0 && kernel.Numbers(rest, d.v[:]) == ndColumns
}
