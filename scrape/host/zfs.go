package host

import (
	"errors"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	zfsARC = iota
	zfsKstat
)

var zfsMetrics = []series.Metric{
	zfsARC: {
		Metric: otlp.Metric{Name: "system.zfs.arc.size", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of ZFS's cache (ARC), which counts as used though the kernel can have it back: its size, the size it aims at, bounds of that, and its data and metadata."},
		Attributes: "system.zfs.arc.type=size|target|minimum|maximum|data|metadata",
		Source:     "/proc/spl/kstat/zfs/arcstats",
		When:       "ZFS is loaded",
	},
	zfsKstat: {
		Metric: otlp.Metric{Name: "system.zfs.kstat", Unit: "1", Instrument: otlp.Gauge,
			Description: "Figures of ZFS's modules and data sets, under its names; it does not tell which of them count."},
		Attributes: "system.zfs.module=arc|abd|dbuf|dmu_tx|dnode|fm|vdev_cache|vdev_mirror|xuio|zfetch|zil|zpool; system.zfs.field=<name>; system.zfs.pool=<pool>; system.zfs.dataset=<data set>",
		Source:     "/proc/spl/kstat/zfs, and <pool>/objset-* there",
		When:       "host.zfs.detail is on, and ZFS is loaded",
	},
}

// zfs is the scraper of ZFS.
type zfs struct {
	arcstats kernel.File
	types    []zfsType
	kstats   *kstats // nil: not wanted
}

type zfsType struct {
	field string
	attrs []byte
	v     uint64
	has   bool
}

func newZFS(h *Host, cfg *Config) scraper {
	s := &zfs{arcstats: kernel.NewFile(h.proc + "/spl/kstat/zfs/arcstats")}
	for _, t := range [][2]string{{"size", "size"}, {"c", "target"}, {"c_min", "minimum"}, {"c_max", "maximum"}, {"data_size", "data"},
		{"metadata_size", "metadata"}} {
		s.types = append(s.types, zfsType{field: t[0], attrs: series.Attributes(otlp.Attr("system.zfs.arc.type", t[1]))})
	}
	if cfg.ZFS.Detail {
		s.kstats = newKstats(h.proc + "/spl/kstat/zfs")
	}
	return s
}

func (s *zfs) close() {
	s.arcstats.Close()
	if s.kstats != nil {
		s.kstats.dir.close()
	}
}

// scrape reads lines of a name, a type and a value, below two that are of another form.
func (s *zfs) scrape(p *series.Points, now uint64) error {
	b, err := s.arcstats.ReadIfThere()
	for i := range s.types {
		s.types[i].has = false
	}
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		name, rest := kernel.Field(l)
		for i := range s.types {
			t := &s.types[i]
			if string(name) != t.field {
				continue
			}
			_, rest = kernel.Field(rest)
			if t.v, _, t.has = kernel.Number(rest); !t.has {
				err = kernel.Malformed(s.arcstats.Path, l)
			}
		}
	}
	for i := range s.types {
		if t := &s.types[i]; t.has {
			p.Int(zfsARC, t.attrs, t.v)
		}
	}
	if s.kstats != nil {
		err = errors.Join(err, s.kstats.scrape(p, now))
	}
	return err
}
