package cgroup

import (
	"fmt"
	"os"
	"path"

	"stint/export/otlp"
	"stint/scrape/series"
)

// blockDevice holds the attributes of a device's points.
type blockDevice struct {
	plain, read, write []byte
	cost               [len(diskCosts)][]byte
	queue              [len(diskQueues)][]byte
}

// maxDevices bounds the table of devices; it starts anew when it is full.
const maxDevices = 4096

// device names a block device, once: sda of 8:0, or 8:0 where /sys does not tell.
func (s *Cgroups) device(major, minor uint32) *blockDevice {
	number := [2]uint32{major, minor}
	if d := s.devices[number]; d != nil {
		return d
	}
	name := fmt.Sprintf("%d:%d", major, minor)
	if link, err := os.Readlink(s.root + "/sys/dev/block/" + name); err == nil {
		name = path.Base(link)
	}
	system := otlp.Attr("system.device", name)
	d := &blockDevice{
		plain: series.Attributes(system),
		read:  series.Attributes(system, otlp.Attr("disk.io.direction", "read")),
		write: series.Attributes(system, otlp.Attr("disk.io.direction", "write")),
	}
	for i, name := range diskCosts {
		d.cost[i] = series.Attributes(system, otlp.Attr("container.disk.cost", name))
	}
	for i, name := range diskQueues {
		d.queue[i] = series.Attributes(system, otlp.Attr("container.disk.queue", name))
	}
	if len(s.devices) >= maxDevices {
		clear(s.devices)
	}
	s.devices[number] = d
	return d
}
