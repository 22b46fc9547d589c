package host

import (
	"bytes"
	"os"
	"strings"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const memoryAsked = "host.memory.detail is on"

// memoryDetails are the metrics of memory that are off by default, behind the others in the
// table: fields of /proc/meminfo.
var memoryDetails = []struct {
	name, attributes, description string
	fields                        []memoryField
}{
	{"mapped", "", "Files that programs have mapped.", []memoryField{{"Mapped", nil}}},
	{"anonymous", "", "Memory of programs that is not of files.", []memoryField{{"AnonPages", nil}}},
	{"unevictable", "", "Memory that cannot be reclaimed.", []memoryField{{"Unevictable", nil}}},
	{"mlocked", "", "Memory that programs have locked.", []memoryField{{"Mlocked", nil}}},
	{"kernel_stack", "", "Stacks of threads in the kernel.", []memoryField{{"KernelStack", nil}}},
	{"page_tables", "", "Tables that map memory to addresses.", []memoryField{{"PageTables", nil}}},
	{"percpu", "", "Memory of the kernel's data that each CPU has of its own.", []memoryField{{"Percpu", nil}}},
	{"vmalloc.usage", "", "Memory of the kernel that is not contiguous.", []memoryField{{"VmallocUsed", nil}}},
	{"swap_cached", "", "Memory that is in swap, too.", []memoryField{{"SwapCached", nil}}},
	{"lru.usage", "linux.lru.state=active|inactive; linux.lru.type=anon|file", "Memory by how recently it was used, of programs and of files.", []memoryField{
		{"Active(anon)", attr("linux.lru.state", "active", "linux.lru.type", "anon")},
		{"Inactive(anon)", attr("linux.lru.state", "inactive", "linux.lru.type", "anon")},
		{"Active(file)", attr("linux.lru.state", "active", "linux.lru.type", "file")},
		{"Inactive(file)", attr("linux.lru.state", "inactive", "linux.lru.type", "file")}}},
	{"transparent_hugepages.usage", "linux.thp.type=anon|shmem|shmem_pmd_mapped|file|file_pmd_mapped", "Memory in huge pages that nobody asked for.", []memoryField{
		{"AnonHugePages", attr("linux.thp.type", "anon")}, {"ShmemHugePages", attr("linux.thp.type", "shmem")},
		{"ShmemPmdMapped", attr("linux.thp.type", "shmem_pmd_mapped")}, {"FileHugePages", attr("linux.thp.type", "file")},
		{"FilePmdMapped", attr("linux.thp.type", "file_pmd_mapped")}}},
	{"zswap.usage", "linux.zswap.type=compressed|original", "Memory in compressed swap: what it takes, and what it stands for.", []memoryField{
		{"Zswap", attr("linux.zswap.type", "compressed")}, {"Zswapped", attr("linux.zswap.type", "original")}}},
}

type memoryField struct {
	name  string
	attrs []otlp.KeyValue
}

// The metrics behind those of memoryDetails in the table.
var (
	memoryUtilization  = len(memoryMetrics) - 5
	memoryPageSize     = len(memoryMetrics) - 4
	memoryHugepages    = len(memoryMetrics) - 3
	memoryMeminfo      = len(memoryMetrics) - 2
	memoryMeminfoPages = len(memoryMetrics) - 1
)

// withMemoryDetails puts the metrics that are off by default behind the others.
func withMemoryDetails(table []series.Metric) []series.Metric {
	for _, d := range memoryDetails {
		m := series.Metric{
			Metric:     otlp.Metric{Name: "system.memory.linux." + d.name, Unit: "By", Instrument: otlp.UpDown, Description: d.description},
			Attributes: d.attributes, Source: "/proc/meminfo", When: memoryAsked,
		}
		for _, f := range d.fields {
			m.Source += " " + f.name
		}
		table = append(table, m)
	}
	return append(table, series.Metric{
		Metric: otlp.Metric{Name: "system.memory.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Memory by state as a share of all, 0 to 1; the states overlap as those of system.memory.usage do."},
		Attributes: "system.memory.state=used|free|buffers|cached",
		Source:     "/proc/meminfo MemTotal, MemAvailable, MemFree, Buffers, Cached",
		When:       memoryAsked,
	}, series.Metric{
		Metric: otlp.Metric{Name: "system.memory.page_size", Unit: "By", Instrument: otlp.Gauge,
			Description: "Size of a page."},
		Source: "getpagesize(2)",
		When:   memoryAsked,
	}, series.Metric{
		Metric: otlp.Metric{Name: "system.memory.linux.hugepages.utilization", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Huge pages by state as a share of the pool, 0 to 1."},
		Attributes: "system.memory.linux.hugepages.state=free|used",
		Source:     "/proc/meminfo HugePages_Free, HugePages_Total",
		When:       memoryAsked + " and there are huge pages",
	}, series.Metric{
		Metric: otlp.Metric{Name: "system.memory.linux.meminfo", Unit: "By", Instrument: otlp.UpDown,
			Description: "Fields of /proc/meminfo, under the kernel's names."},
		Attributes: "linux.meminfo.field=<name>",
		Source:     "/proc/meminfo",
		When:       "host.memory.meminfo names the field",
	}, series.Metric{
		Metric: otlp.Metric{Name: "system.memory.linux.meminfo.pages", Unit: "{page}", Instrument: otlp.UpDown,
			Description: "Fields of /proc/meminfo that have no unit, which are numbers of huge pages."},
		Attributes: "linux.meminfo.field=<name>",
		Source:     "/proc/meminfo",
		When:       "host.memory.meminfo names the field",
	})
}

// memoryDetail is a point of them.
type memoryDetail struct {
	metric, field int
	attrs         []byte
}

func newMemoryDetails() (all []memoryDetail) {
	field, metric := memFields, memoryUtilization-len(memoryDetails)
	for _, d := range memoryDetails {
		for _, f := range d.fields {
			all = append(all, memoryDetail{metric, field, series.Attributes(f.attrs...)})
			field++
		}
		metric++
	}
	return all
}

// detailPoints adds the points of what is off by default.
func (s *memory) detailPoints(p *series.Points) {
	m := &s.m
	for _, d := range s.details {
		if m.has[d.field] {
			p.Int(d.metric, d.attrs, m.v[d.field])
		}
	}
	total := m.v[memTotal]
	if total == 0 {
		return
	}
	share := func(v uint64) float64 { return float64(min(v, total)) / float64(total) }
	if m.has[memAvailable] {
		p.Float(memoryUtilization, s.used, 1-share(m.v[memAvailable]))
	}
	for _, q := range [...]struct {
		field int
		attrs []byte
	}{{memFree, s.free}, {memBuffers, s.buffers}, {memCached, s.cached}} {
		if m.has[q.field] {
			p.Float(memoryUtilization, q.attrs, share(m.v[q.field]))
		}
	}
	p.Int(memoryPageSize, nil, uint64(os.Getpagesize()))
	if pool := m.v[memHugepagesTotal]; m.has[memHugepagesTotal] && m.has[memHugepagesFree] && pool > 0 {
		free := float64(min(m.v[memHugepagesFree], pool)) / float64(pool)
		p.Float(memoryHugepages, s.hugeFree, free)
		p.Float(memoryHugepages, s.hugeUsed, 1-free)
	}
}

// meminfoFields are the fields that the configuration names. Which these are is found out when
// the file has other lines than before.
type meminfoFields struct {
	globs []string
	lines []meminfoField
}

type meminfoField struct {
	name   []byte
	wanted bool
	attrs  []byte
	v      uint64
	pages  bool
}

// points takes in the file and adds the points of those fields.
func (s *meminfoFields) points(p *series.Points, b []byte) (err error) {
	n := 0
	for ; len(b) > 0; n++ {
		var l []byte
		l, b = kernel.Line(b)
		name, rest := kernel.Field(l)
		if n == len(s.lines) {
			s.lines = append(s.lines, meminfoField{})
		}
		f := &s.lines[n]
		if f.name == nil || !bytes.Equal(f.name, name) {
			field := strings.TrimSuffix(string(name), ":")
			*f = meminfoField{name: bytes.Clone(name), wanted: field != "" && matchesAny(s.globs, field)}
			f.attrs = series.Attributes(otlp.Attr("linux.meminfo.field", field))
		}
		if !f.wanted {
			continue
		}
		v, rest, ok := kernel.Number(rest)
		if !ok || v > 1<<53 {
			err, f.name = kernel.Malformed("/proc/meminfo", l), nil
			f.wanted = false
			continue
		}
		unit, _ := kernel.Field(rest)
		if f.v, f.pages = v, string(unit) != "kB"; !f.pages {
			f.v *= 1024
		}
	}
	s.lines = s.lines[:n]
	for _, metric := range [...]int{memoryMeminfo, memoryMeminfoPages} {
		for i := range s.lines {
			if f := &s.lines[i]; f.wanted && f.pages == (metric == memoryMeminfoPages) {
				p.Int(metric, f.attrs, f.v)
			}
		}
	}
	return err
}
