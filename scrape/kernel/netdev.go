package kernel

import "bytes"

// Columns of /proc/net/dev.
const (
	NetReceiveBytes = iota
	NetReceivePackets
	NetReceiveErrors
	NetReceiveDropped // with those that the device had no room for
	NetReceiveFIFO
	NetReceiveFrame
	NetReceiveCompressed
	NetReceiveMulticast
	NetTransmitBytes
	NetTransmitPackets
	NetTransmitErrors
	NetTransmitDropped
	NetTransmitFIFO
	NetTransmitCollisions
	NetTransmitCarrier
	NetTransmitCompressed
	NetColumns
)

// NetDev is a line of /proc/net/dev.
type NetDev struct {
	Name []byte // part of the line
	V    [NetColumns]uint64
}

// Parse reads a line; head tells that it is one of the two above the table.
func (d *NetDev) Parse(l []byte) (head, ok bool) {
	name, rest, ok := bytes.Cut(l, []byte(":")) // a blank need not follow
	if !ok {
		return bytes.IndexByte(l, '|') >= 0, false
	}
	var left []byte
	d.Name, left = Field(name)
	return false, len(d.Name) > 0 && len(left) == 0 && Numbers(rest, d.V[:]) == NetColumns
}
