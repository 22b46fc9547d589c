package host

import (
	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const zfsARC = 0

var zfsMetrics = []series.Metric{
	zfsARC: {
		Metric: otlp.Metric{Name: "system.zfs.arc.size", Unit: "By", Instrument: otlp.UpDown,
			Description: "Memory of ZFS's cache (ARC), which counts as used though the kernel can have it back: its size, the size it aims at, bounds of that, and its data and metadata."},
		Attributes: "system.zfs.arc.type=size|target|minimum|maximum|data|metadata",
		Source:     "/proc/spl/kstat/zfs/arcstats",
		When:       "ZFS is loaded",
	},
}

// zfs is the scraper of ZFS.
type zfs struct {
	arcstats kernel.File
	types    []zfsType
}

type zfsType struct {
	field string
	attrs []byte
	v     uint64
	has   bool
}

func newZFS(h *Host, _ *Config) scraper {
	s := &zfs{arcstats: kernel.NewFile(h.proc + "/spl/kstat/zfs/arcstats")}
	for _, t := range [][2]string{{"size", "size"}, {"c", "target"}, {"c_min", "minimum"}, {"c_max", "maximum"}, {"data_size", "data"},
		{"metadata_size", "metadata"}} {
		s.types = append(s.types, zfsType{field: t[0], attrs: series.Attributes(otlp.Attr("system.zfs.arc.type", t[1]))})
	}
	return s
}

func (s *zfs) close() { s.arcstats.Close() }

// scrape reads lines of a name, a type and a value, below two that are of another form.
func (s *zfs) scrape(p *series.Points, _ uint64) error {
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
	return err
}
