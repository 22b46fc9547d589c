package host

import (
	"bytes"
	"cmp"
	"math"
	"os"
	"strings"
	"time"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	diskIO = iota
	diskOperations
	diskIOTime
	diskOperationTime
	diskMerged
	diskLimit
	diskPending
	diskWeightedTime
	diskDiscards
	diskDiscardIO
	diskFlushes
	diskDiscardsMerged // from here on with detail
	diskDiscardTime
	diskFlushTime
	diskInfo
)

const (
	diskDevice    = "system.device=<block device name>"
	diskDirection = diskDevice + "; disk.io.direction=read|write"
	diskAsked     = "host.disk.detail is on"
)

var diskMetrics = []series.Metric{
	diskIO: {
		Metric: otlp.Metric{Name: "system.disk.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes read from and written to the device."},
		Attributes: diskDirection,
		Source:     "/proc/diskstats sectors",
	},
	diskOperations: {
		Metric: otlp.Metric{Name: "system.disk.operations", Unit: "{operation}", Instrument: otlp.Counter,
			Description: "Reads and writes that the device completed."},
		Attributes: diskDirection,
		Source:     "/proc/diskstats reads and writes completed",
	},
	diskIOTime: {
		Metric: otlp.Metric{Name: "system.disk.io_time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which the device had at least one request under way."},
		Attributes: diskDevice,
		Source:     "/proc/diskstats ms spent doing I/Os",
	},
	diskOperationTime: {
		Metric: otlp.Metric{Name: "system.disk.operation_time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time that reads and writes took, summed over all of them."},
		Attributes: diskDirection,
		Source:     "/proc/diskstats ms spent reading and writing",
	},
	diskMerged: {
		Metric: otlp.Metric{Name: "system.disk.merged", Unit: "{operation}", Instrument: otlp.Counter,
			Description: "Reads and writes that the kernel merged into others before they reached the device."},
		Attributes: diskDirection,
		Source:     "/proc/diskstats reads and writes merged",
	},
	diskLimit: {
		Metric: otlp.Metric{Name: "system.disk.limit", Unit: "By", Instrument: otlp.UpDown,
			Description: "Size of the device."},
		Attributes: diskDevice,
		Source:     "/sys/class/block/<device>/size",
	},
	diskPending: {
		Metric: otlp.Metric{Name: "system.disk.pending_operations", Unit: "{operation}", Instrument: otlp.UpDown,
			Description: "Requests under way."},
		Attributes: diskDevice,
		Source:     "/proc/diskstats I/Os in progress",
	},
	diskWeightedTime: {
		Metric: otlp.Metric{Name: "system.disk.weighted_io_time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time in which requests were under way, times their number."},
		Attributes: diskDevice,
		Source:     "/proc/diskstats weighted ms spent doing I/Os",
	},
	diskDiscards: {
		Metric: otlp.Metric{Name: "system.disk.discard.operations", Unit: "{operation}", Instrument: otlp.Counter,
			Description: "Discards (TRIM) that the device completed."},
		Attributes: diskDevice,
		Source:     "/proc/diskstats discards completed",
		When:       "there was one",
	},
	diskDiscardIO: {
		Metric: otlp.Metric{Name: "system.disk.discard.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes discarded (TRIM) on the device."},
		Attributes: diskDevice,
		Source:     "/proc/diskstats sectors discarded",
		When:       "there was a discard",
	},
	diskFlushes: {
		Metric: otlp.Metric{Name: "system.disk.flush.operations", Unit: "{operation}", Instrument: otlp.Counter,
			Description: "Flushes of the device's cache that it completed."},
		Attributes: diskDevice,
		Source:     "/proc/diskstats flush requests completed",
		When:       "there was one",
	},
	diskDiscardsMerged: {
		Metric: otlp.Metric{Name: "system.disk.discard.merged", Unit: "{operation}", Instrument: otlp.Counter,
			Description: "Discards (TRIM) that the kernel merged into others."},
		Attributes: diskDevice,
		Source:     "/proc/diskstats discards merged",
		When:       diskAsked + " and there was a discard",
	},
	diskDiscardTime: {
		Metric: otlp.Metric{Name: "system.disk.discard.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time that discards (TRIM) took, summed over all of them."},
		Attributes: diskDevice,
		Source:     "/proc/diskstats ms spent discarding",
		When:       diskAsked + " and there was a discard",
	},
	diskFlushTime: {
		Metric: otlp.Metric{Name: "system.disk.flush.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time that flushes took, summed over all of them."},
		Attributes: diskDevice,
		Source:     "/proc/diskstats ms spent flushing",
		When:       diskAsked + " and there was a flush",
	},
	diskInfo: {
		Metric: otlp.Metric{Name: "system.disk.info", Unit: "1", Instrument: otlp.UpDown,
			Description: "1 for each device, with what it is; what the machine does not tell is left out."},
		Attributes: diskDevice + "; hw.model; hw.serial_number; hw.vendor; system.disk.wwn; system.disk.path; system.disk.rotational=0|1",
		Source:     "/run/udev/data/b<major>:<minor> ID_MODEL, ID_SERIAL_SHORT, ID_VENDOR, ID_WWN, ID_PATH, else /sys/class/block/<device>/device; queue/rotational",
		When:       diskAsked,
	},
}

// diskRefresh is how often a device is asked for its size: volumes grow while they are in use.
const diskRefresh = uint64(time.Minute)

// disk is the scraper of block devices.
type disk struct {
	h       *Host
	cfg     Disk
	stats   kernel.File
	devices table[blockDevice]
	prev    uint64 // time of the last scrape
	small   []byte // for reading attributes in /sys
}

// blockDevice is what is known of a device in /proc/diskstats.
type blockDevice struct {
	skip  bool                             // not reported; nothing below is set
	start uint64                           // start time of its counters
	raw   [dsColumns]uint64                // as read last
	high  [dsColumns]uint64                // what 32-bit columns have wrapped so far
	ever  struct{ discards, flushes bool } // there was one

	sizePath []byte
	size     uint64 // bytes
	sized    bool   // size is known
	sizedAt  uint64

	attrs, read, write []byte
	info               []byte // with detail
}

func newDisk(h *Host, cfg *Config) scraper {
	return &disk{h: h, cfg: cfg.Disk, stats: kernel.NewFile(h.proc + "/diskstats"), small: make([]byte, 64)}
}

func (s *disk) close() { s.stats.Close() }

func (s *disk) scrape(p *series.Points, now uint64) error {
	b, err := s.stats.Read()
	if err != nil {
		return err
	}
	err = s.update(b, p.Start, now)
	s.points(p)
	return err
}

// update takes in the content of /proc/diskstats. A bad line costs its device.
func (s *disk) update(b []byte, boot, now uint64) (err error) {
	all := b
	s.devices.begin()
	for len(b) > 0 {
		var l []byte
		var d diskstats
		l, b = kernel.Line(b)
		if !d.parse(l) {
			err = kernel.Malformed("/proc/diskstats", l)
			continue
		}
		dev, fresh := s.devices.get(d.name)
		if fresh {
			s.appear(dev, string(d.name), all)
			// A device that was not there in the last scrape began to count after it.
			if dev.start = s.prev; s.prev == 0 {
				dev.start = boot
			}
		}
		if dev.skip {
			continue
		}
		if dev.count(&d) {
			dev.start = s.prev
		}
		if now-dev.sizedAt >= diskRefresh || now < dev.sizedAt {
			s.measure(dev)
			dev.sizedAt = now
		}
	}
	s.devices.sweep()
	s.prev = now
	return err
}

// appear decides on a device that was not listed before.
func (s *disk) appear(dev *blockDevice, name string, stats []byte) {
	dir := s.h.sys + "/class/block/" + strings.ReplaceAll(name, "/", "!")
	if dev.skip = !selected(s.cfg.Include, s.cfg.Exclude, name); dev.skip {
		return
	}
	if len(s.cfg.Include) == 0 {
		if exists(dir) {
			dev.skip = exists(dir + "/partition")
		} else {
			dev.skip = looksLikePartition([]byte(name), stats)
		}
		if dev.skip {
			return
		}
	}
	device := otlp.Attr("system.device", name)
	dev.attrs = series.Attributes(device)
	dev.read = series.Attributes(device, otlp.Attr("disk.io.direction", "read"))
	dev.write = series.Attributes(device, otlp.Attr("disk.io.direction", "write"))
	dev.sizePath = kernel.CString(dir + "/size")
	if s.cfg.Detail {
		dev.info = series.Attributes(append([]otlp.KeyValue{device}, s.describe(dir)...)...)
	}
}

// describe says what a device is, by what udev found out, else by what its driver tells.
func (s *disk) describe(dir string) (kvs []otlp.KeyValue) {
	udev := map[string]string{}
	if b, err := os.ReadFile(s.h.root + "/run/udev/data/b" + firstLine(dir+"/dev")); err == nil {
		for l := range strings.Lines(string(b)) {
			if entry, ok := strings.CutPrefix(l, "E:"); ok {
				key, value, _ := strings.Cut(strings.TrimSpace(entry), "=")
				udev[key] = value
			}
		}
	}
	add := func(key, value string) {
		if value != "" {
			kvs = append(kvs, otlp.Attr(key, value))
		}
	}
	add("hw.model", cmp.Or(udev["ID_MODEL"], firstLine(dir+"/device/model")))
	add("hw.serial_number", cmp.Or(udev["ID_SERIAL_SHORT"], firstLine(dir+"/device/serial")))
	add("hw.vendor", cmp.Or(udev["ID_VENDOR"], firstLine(dir+"/device/vendor")))
	add("system.disk.wwn", cmp.Or(udev["ID_WWN"], firstLine(dir+"/wwid", dir+"/device/wwid")))
	add("system.disk.path", udev["ID_PATH"])
	add("system.disk.rotational", firstLine(dir+"/queue/rotational"))
	return kvs
}

// exists tells whether something lies at path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// looksLikePartition tells, where there is no /sys, whether another device of /proc/diskstats
// is the whole of this one: sda of sda1, nvme0n1 of nvme0n1p1.
func looksLikePartition(name, stats []byte) bool {
	for len(stats) > 0 {
		var l []byte
		var d diskstats
		l, stats = kernel.Line(stats)
		if !d.parse(l) {
			continue
		}
		number, ok := bytes.CutPrefix(name, d.name)
		if !ok || len(number) == 0 {
			continue
		}
		if last := d.name[len(d.name)-1]; last >= '0' && last <= '9' {
			if number, ok = bytes.CutPrefix(number, []byte("p")); !ok {
				continue
			}
		}
		if len(number) > 0 && len(bytes.Trim(number, "0123456789")) == 0 {
			return true
		}
	}
	return false
}

// count takes in a line and tells whether the device has begun to count anew. The kernel
// prints times as 32-bit milliseconds, which wrap after 49.7 days, the weighted one sooner:
// a step back by more than half the range is a wrap, by less a new beginning.
func (dev *blockDevice) count(d *diskstats) (reset bool) {
	for i := range d.n {
		was, is := dev.raw[i], d.v[i]
		if is >= was || i == dsInFlight {
			continue
		}
		if isMS(i) && was <= math.MaxUint32 && was-is > math.MaxUint32/2 {
			dev.high[i] += 1 << 32
		} else {
			reset = true
		}
	}
	if reset {
		dev.high = [dsColumns]uint64{}
	}
	dev.raw = d.v
	dev.ever.discards = dev.ever.discards || d.v[dsDiscards] > 0
	dev.ever.flushes = dev.ever.flushes || d.v[dsFlushes] > 0
	return reset
}

func isMS(column int) bool {
	switch column {
	case dsReadMS, dsWriteMS, dsIOMS, dsWeightedMS, dsDiscardMS, dsFlushMS:
		return true
	}
	return false
}

// measure reads the size of a device.
func (s *disk) measure(dev *blockDevice) {
	b, errno := kernel.ReadSmall(dev.sizePath, s.small)
	sectors, _, ok := kernel.Number(b)
	if dev.sized = errno == 0 && ok; dev.sized {
		dev.size = sectors * sectorSize
	}
}

func (s *disk) points(p *series.Points) {
	boot := p.Start
	for metric := range diskMetrics {
		if metric > diskFlushes && !s.cfg.Detail {
			break
		}
		for _, dev := range s.devices.list {
			if dev.skip {
				continue
			}
			p.Start = dev.start
			dev.point(p, metric)
		}
	}
	p.Start = boot
}

// point adds the device's points of a metric.
func (dev *blockDevice) point(p *series.Points, metric int) {
	v := func(column int) uint64 { return dev.raw[column] + dev.high[column] }
	seconds := func(column int) float64 { return float64(v(column)) / 1000 }
	switch metric {
	case diskIO:
		p.Int(metric, dev.read, v(dsReadSectors)*sectorSize)
		p.Int(metric, dev.write, v(dsWriteSectors)*sectorSize)
	case diskOperations:
		p.Int(metric, dev.read, v(dsReads))
		p.Int(metric, dev.write, v(dsWrites))
	case diskIOTime:
		p.Float(metric, dev.attrs, seconds(dsIOMS))
	case diskOperationTime:
		p.Float(metric, dev.read, seconds(dsReadMS))
		p.Float(metric, dev.write, seconds(dsWriteMS))
	case diskMerged:
		p.Int(metric, dev.read, v(dsReadsMerged))
		p.Int(metric, dev.write, v(dsWritesMerged))
	case diskLimit:
		if dev.sized {
			p.Int(metric, dev.attrs, dev.size)
		}
	case diskPending:
		p.Int(metric, dev.attrs, v(dsInFlight))
	case diskWeightedTime:
		p.Float(metric, dev.attrs, seconds(dsWeightedMS))
	case diskDiscards:
		if dev.ever.discards {
			p.Int(metric, dev.attrs, v(dsDiscards))
		}
	case diskDiscardIO:
		if dev.ever.discards {
			p.Int(metric, dev.attrs, v(dsDiscardSectors)*sectorSize)
		}
	case diskFlushes:
		if dev.ever.flushes {
			p.Int(metric, dev.attrs, v(dsFlushes))
		}
	case diskDiscardsMerged:
		if dev.ever.discards {
			p.Int(metric, dev.attrs, v(dsDiscardsMerged))
		}
	case diskDiscardTime:
		if dev.ever.discards {
			p.Float(metric, dev.attrs, seconds(dsDiscardMS))
		}
	case diskFlushTime:
		if dev.ever.flushes {
			p.Float(metric, dev.attrs, seconds(dsFlushMS))
		}
	case diskInfo:
		p.Int(metric, dev.info, 1)
	}
}
