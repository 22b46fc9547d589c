package host

import (
	"errors"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	btrfsAllocation = iota
	btrfsCommits
	btrfsCommitTime
)

var btrfsMetrics = []series.Metric{
	btrfsAllocation: {
		Metric: otlp.Metric{Name: "system.btrfs.allocation", Unit: "By", Instrument: otlp.UpDown,
			Description: "Space that a btrfs file system allocated to each kind of block group (size), and what of it is used or reserved; global_reserve is a part of the metadata's."},
		Attributes: "system.btrfs.uuid=<uuid>; system.btrfs.block_group=data|metadata|system; system.btrfs.state=size|used|reserved|global_reserve",
		Source:     "/sys/fs/btrfs/<uuid>/allocation",
		When:       "a btrfs file system is mounted",
	},
	btrfsCommits: {
		Metric: otlp.Metric{Name: "system.btrfs.commit", Unit: "{commit}", Instrument: otlp.Counter,
			Description: "Transactions that a btrfs file system committed."},
		Attributes: "system.btrfs.uuid=<uuid>",
		Source:     "/sys/fs/btrfs/<uuid>/commit_stats commits",
		When:       btrfsAsked,
	},
	btrfsCommitTime: {
		Metric: otlp.Metric{Name: "system.btrfs.commit.time", Unit: "s", Instrument: otlp.Counter, Double: true,
			Description: "Time that commits took, summed over all of them."},
		Attributes: "system.btrfs.uuid=<uuid>",
		Source:     "/sys/fs/btrfs/<uuid>/commit_stats total_commit_ms",
		When:       btrfsAsked,
	},
}

const btrfsAsked = "host.btrfs.detail is on, and a btrfs file system is mounted (since Linux 5.19)"

// btrfs is the scraper of btrfs file systems.
type btrfs struct {
	sysFiles
	detail  bool
	commits table[btrfsCommit]
	dir     string
	path    []byte
	buf     [512]byte
	uuids   []string
}

// btrfsCommit is /sys/fs/btrfs/<uuid>/commit_stats.
type btrfsCommit struct {
	path    []byte
	attrs   []byte
	start   uint64
	commits uint64
	ms      uint64
	has     bool
}

func (s *btrfs) scrape(p *series.Points, now uint64) error {
	boot, before := p.Start, s.prev
	err := s.sysFiles.scrape(p, now)
	if !s.detail {
		return err
	}
	s.commits.begin()
	for i := range s.uuids {
		s.path = append(s.path[:0], s.uuids[i]...)
		c, fresh := s.commits.get(s.path)
		if fresh {
			c.path, c.attrs = kernel.CString(s.dir+"/"+s.uuids[i]+"/commit_stats"), series.Attributes(attr("system.btrfs.uuid", s.uuids[i])...)
			if c.start = before; before == 0 {
				c.start = boot
			}
		}
		b, errno := kernel.ReadSmall(c.path, s.buf[:])
		if c.has = errno == 0; !c.has { // an older kernel
			continue
		}
		if !c.parse(b, before) {
			err = errors.Join(err, kernel.Malformed(string(c.path[:len(c.path)-1]), b))
		}
	}
	s.commits.sweep()
	for _, c := range s.commits.list {
		if p.Start = c.start; c.has {
			p.Int(btrfsCommits, c.attrs, c.commits)
		}
	}
	for _, c := range s.commits.list {
		if p.Start = c.start; c.has {
			p.Float(btrfsCommitTime, c.attrs, float64(c.ms)/1000)
		}
	}
	p.Start = boot
	return err
}

// parse takes in lines "commits 3" and "total_commit_ms 7".
func (c *btrfsCommit) parse(b []byte, before uint64) bool {
	commits, ms, found := uint64(0), uint64(0), 0
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		name, rest := kernel.Field(l)
		to := &commits
		switch string(name) {
		case "commits":
		case "total_commit_ms":
			to = &ms
		default:
			continue
		}
		n, _, ok := kernel.Number(rest)
		if !ok {
			c.has = false
			return false
		}
		*to = n
		found++
	}
	if c.has = found == 2; !c.has {
		return false
	}
	if commits < c.commits || ms < c.ms {
		c.start = before
	}
	c.commits, c.ms = commits, ms
	return true
}

// newBtrfs makes the scraper of btrfs file systems.
func newBtrfs(h *Host, cfg *Config) scraper {
	dir := h.sys + "/fs/btrfs"
	s := &btrfs{dir: dir, detail: cfg.Btrfs.Detail, sysFiles: sysFiles{class: newDirectory(dir)}}
	s.list = func() (files []sysFile) {
		s.uuids = s.uuids[:0]
		for _, uuid := range names(dir, "") {
			allocation := dir + "/" + uuid + "/allocation"
			if !exists(allocation) { // features, debug
				continue
			}
			s.uuids = append(s.uuids, uuid)
			add := func(file, group, state string) {
				files = append(files, newSysFile(btrfsAllocation, allocation+file, 1,
					series.Attributes(attr("system.btrfs.uuid", uuid, "system.btrfs.block_group", group, "system.btrfs.state", state)...)))
			}
			for _, group := range []string{"data", "metadata", "system"} {
				add("/"+group+"/total_bytes", group, "size")
				add("/"+group+"/bytes_used", group, "used")
				add("/"+group+"/bytes_reserved", group, "reserved")
			}
			add("/global_rsv_size", "metadata", "global_reserve")
		}
		return files
	}
	return s
}
