package host

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

var xfsMetrics = []series.Metric{{
	Metric: otlp.Metric{Name: "system.xfs.operation.count", Unit: "{operation}", Instrument: otlp.Counter,
		Description: "What an XFS file system did, by group and operation."},
	Attributes: "system.device=<device>; system.xfs.group=allocation_btree|block_map_btree|block_mapping|block_mapping_extent_list|directory|extent_allocation|inode|vnode|read|write; system.xfs.operation=<name>",
	Source:     "/sys/fs/xfs/<device>/stats/stats",
	When:       "host.xfs is on, and one is mounted",
}}

// xfsLines are the lines of the file that count operations, and what their columns count; one
// without a name is left out (Documentation/admin-guide/xfs.rst, fs/xfs/xfs_stats.c).
var xfsLines = []struct {
	word    string
	columns [][2]string // group, operation
}{
	{"extent_alloc", [][2]string{{"extent_allocation", "extents_allocated"}, {"extent_allocation", "blocks_allocated"}, {"extent_allocation", "extents_freed"}, {"extent_allocation", "blocks_freed"}}},
	{"abt", [][2]string{{"allocation_btree", "lookups"}, {"allocation_btree", "compares"}, {"allocation_btree", "records_inserted"}, {"allocation_btree", "records_deleted"}}},
	{"blk_map", [][2]string{{"block_mapping", "reads"}, {"block_mapping", "writes"}, {"block_mapping", "unmaps"}, {"block_mapping_extent_list", "insertions"},
		{"block_mapping_extent_list", "deletions"}, {"block_mapping_extent_list", "lookups"}, {"block_mapping_extent_list", "compares"}}},
	{"bmbt", [][2]string{{"block_map_btree", "lookups"}, {"block_map_btree", "compares"}, {"block_map_btree", "records_inserted"}, {"block_map_btree", "records_deleted"}}},
	{"dir", [][2]string{{"directory", "lookups"}, {"directory", "creates"}, {"directory", "removes"}, {"directory", "getdents"}}},
	{"ig", [][2]string{{"inode", "attempts"}, {"inode", "found"}, {"inode", "recycled"}, {"inode", "missed"}, {"inode", "duplicates"}, {"inode", "reclaims"}, {"inode", "attribute_changes"}}},
	{"rw", [][2]string{{"write", "calls"}, {"read", "calls"}}},
	{"vnodes", [][2]string{{}, {"vnode", "allocated"}, {"vnode", "got"}, {"vnode", "held"}, {"vnode", "released"}, {"vnode", "reclaimed"}, {"vnode", "removed"}, {"vnode", "freed"}}},
}

const xfsColumns = 8

// xfs is the scraper of XFS file systems.
type xfs struct {
	dir     string
	class   directory
	devices table[xfsDevice]
	prev    uint64
	buf     [8 << 10]byte
}

// xfsDevice is what a file system counted: 32-bit numbers, which wrap.
type xfsDevice struct {
	path  []byte
	start uint64
	raw   [][xfsColumns]uint64 // by line of xfsLines
	sum   [][xfsColumns]uint64
	attrs [][xfsColumns][]byte // nil where there is no figure
	has   [][xfsColumns]bool
}

func newXFS(h *Host, _ *Config) scraper {
	dir := h.sys + "/fs/xfs"
	return &xfs{dir: dir, class: newDirectory(dir)}
}

func (s *xfs) close() { s.class.close() }

func (s *xfs) scrape(p *series.Points, now uint64) error {
	err := s.class.read()
	s.devices.begin()
	boot := p.Start
	for name := s.class.next(); name != nil; name = s.class.next() {
		if string(name) == "stats" { // the sum over all
			continue
		}
		d, fresh := s.devices.get(name)
		if fresh {
			s.appear(d, string(name))
			if d.start = s.prev; s.prev == 0 {
				d.start = boot
			}
		}
		b, errno := kernel.ReadSmall(d.path, s.buf[:])
		if errno == unix.ENOENT { // debug, or unmounted just now
			continue
		}
		if errno != 0 {
			err = errors.Join(err, &os.PathError{Op: "read", Path: string(d.path[:len(d.path)-1]), Err: errno})
			continue
		}
		if err2 := d.update(b); err2 != nil {
			err = errors.Join(err, err2)
		}
		p.Start = d.start
		d.points(p)
	}
	s.devices.sweep()
	p.Start, s.prev = boot, now
	return err
}

func (s *xfs) appear(d *xfsDevice, name string) {
	d.path = kernel.CString(s.dir + "/" + name + "/stats/stats")
	n := len(xfsLines)
	d.raw, d.sum, d.attrs, d.has = make([][xfsColumns]uint64, n), make([][xfsColumns]uint64, n), make([][xfsColumns][]byte, n), make([][xfsColumns]bool, n)
	for i, l := range xfsLines {
		for j, c := range l.columns {
			if c[0] != "" {
				d.attrs[i][j] = series.Attributes(attr("system.device", name, "system.xfs.group", c[0], "system.xfs.operation", c[1])...)
			}
		}
	}
}

// update takes in the file.
func (d *xfsDevice) update(b []byte) error {
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		word, rest := kernel.Field(l)
		for i := range xfsLines {
			if string(word) != xfsLines[i].word {
				continue
			}
			var v [xfsColumns]uint64
			n := kernel.Numbers(rest, v[:len(xfsLines[i].columns)])
			if n < len(xfsLines[i].columns) {
				return kernel.Malformed(string(d.path[:len(d.path)-1]), l)
			}
			for j, is := range v[:n] {
				d.sum[i][j] += uint64(uint32(is - d.raw[i][j])) // also over a wrap
				d.raw[i][j], d.has[i][j] = is, true
			}
		}
	}
	return nil
}

func (d *xfsDevice) points(p *series.Points) {
	for i := range d.attrs {
		for j, attrs := range d.attrs[i] {
			if attrs != nil && d.has[i][j] {
				p.Int(0, attrs, d.sum[i][j])
			}
		}
	}
}
