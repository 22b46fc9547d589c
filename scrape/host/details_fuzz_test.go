package host

import (
	"bytes"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"stint/scrape/kernel"
	"stint/scrape/series"
)

// The parts of a lock are words of its line, in their order.
func FuzzLocks(f *testing.F) {
	seed(f, "proc/locks")
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			var line []byte
			var l lock
			line, b = kernel.Line(b)
			waits, ok := l.parse(line)
			if waits && ok {
				t.Fatalf("parse(%q) is both", line)
			}
			if !ok {
				continue
			}
			w := words(string(line))
			if string(l.mechanism) != w[1] || string(l.mode) != w[2] || string(l.kind) != w[3] || !strings.HasPrefix(w[5], string(l.device)+":") {
				t.Errorf("parse(%q) = %q", line, l)
			}
			if len(l.attributes()) == 0 {
				t.Errorf("%q has no attributes", line)
			}
		}
	})
}

// Of a list of sockets in any pieces each is counted once.
func FuzzConnections(f *testing.F) {
	seed(f, "proc/1/net/tcp")
	seed(f, "proc/1/net/udp6")
	f.Fuzz(func(t *testing.T, b []byte) {
		net := t.TempDir()
		if err := os.WriteFile(net+"/tcp", b, 0o644); err != nil {
			t.Fatal(err)
		}
		c := newConnections(net)
		has, err := c.read(0)
		if err != nil {
			return
		}
		lines := strings.Split(string(b), "\n")
		var want [tcpStates]uint64
		for _, l := range lines[1:max(len(lines)-1, 1)] {
			st, err := strconv.ParseUint(words(l)[3], 16, 64)
			if err != nil {
				t.Fatalf("accepted %q", l)
			}
			if st < tcpStates {
				want[st]++
			}
		}
		if has != (len(lines) > 1) || c.states != want {
			t.Errorf("%q: %v %v, want %v", b, has, c.states, want)
		}
	})
}

// Each backend stands below a service, and its numbers on its line.
func FuzzIPVS(f *testing.F) {
	seed(f, "proc/1/net/ip_vs")
	seed(f, "proc/1/net/ip_vs_stats")
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, ok := parseIPVSStats(b); ok {
			w := words(strings.Split(string(b), "\n")[2])
			for i := range v {
				if n, err := strconv.ParseUint(w[i], 16, 64); err != nil || n != v[i] {
					t.Errorf("column %d of %q is %d", i, b, v[i])
				}
			}
		}
		var s ipvs
		err := s.update(b)
		for key, e := range s.backends.byName {
			w := strings.Split(key, " ")
			text := fmt.Sprint(" ", e.val.weight, e.val.active, e.val.inactive)
			if len(w) != 3 || !bytes.Contains(b, []byte("->")) || !bytes.Contains(b, []byte(w[2])) || e.val.attrs == nil {
				t.Errorf("backend %q with %s of %q, %v", key, text, b, err)
			}
		}
	})
}

// What is read of a process's status are numbers of its lines.
func FuzzPIDStatus(f *testing.F) {
	f.Add([]byte("Name:\tx\nSigPnd:\t0000000000000003\nShdPnd:\t8000000000000000\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n"))
	f.Add([]byte("Pss:                 412 kB\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := parsePIDStatus(b); s.ok {
			want := pidStatus{ok: true}
			for l := range strings.SplitSeq(string(b), "\n") {
				key, value, _ := strings.Cut(l, ":")
				w := strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' })
				switch key {
				case "voluntary_ctxt_switches":
					want.voluntary, _ = must(uintWord(w[0]))
				case "nonvoluntary_ctxt_switches":
					want.involuntary, _ = must(uintWord(w[0]))
				case "SigPnd", "ShdPnd":
					n, err := strconv.ParseUint(w[0], 16, 64)
					if err != nil {
						t.Fatalf("accepted %q", l)
					}
					want.pending += uint64(bits.OnesCount64(n))
				}
			}
			if s != want {
				t.Errorf("%q is %+v, want %+v", b, s, want)
			}
		}
		for _, n := range []uint64{pssOf(b) / 1024} {
			if n > 0 && !bytes.Contains(b, strconv.AppendUint(nil, n, 10)) {
				t.Errorf("%d was read of %q", n, b)
			}
		}
		if state := processStateOf(b); state >= len(processStateNames) {
			t.Errorf("state %d of %q", state, b)
		}
	})
}

func pssOf(b []byte) uint64 {
	n, ok := parsePSS(b)
	if !ok {
		return 0
	}
	return n
}

// A number with a unit is what strconv makes of it.
func FuzzSysNumber(f *testing.F) {
	for _, s := range []string{"1.5k\n", "-3\n", "0\n", "12.0M", "97\n", "since mount:   12.5k\nsince filesystem creation: 1.20M\n", "[writethrough] writeback\n", "1 2\n", "k\n", "--1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := sysNumber(b)
		if !ok {
			return
		}
		text, _ := strings.CutPrefix(string(b), "since mount:")
		w := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })[0]
		unit := 1.0
		if i := strings.IndexByte("kMGTPE", w[len(w)-1]); i >= 0 {
			w = w[:len(w)-1]
			for range i + 1 {
				unit *= 1024
			}
		}
		if want, err := strconv.ParseFloat(w, 64); err != nil || want*unit != got {
			t.Errorf("sysNumber(%q) = %v, want %v, %v", b, got, want*unit, err)
		}
	})
}

// Counters that are sums over wraps never step back by less than they went on, whatever comes.
func FuzzWraps(f *testing.F) {
	seed(f, "proc/1/net/stat/nf_conntrack")
	seed(f, "sys/fs/xfs/sda1/stats/stats")
	f.Fuzz(func(t *testing.T, b []byte) {
		events := newConntrackEvents()
		p := series.Points{Table: networkMetrics}
		sum := func() (n uint64) {
			for _, v := range events.sum {
				n += v
			}
			return n
		}
		s := xfs{}
		d := &xfsDevice{}
		s.appear(d, "sda1")
		was := uint64(0)
		var before [xfsColumns]uint64
		for _, content := range [][]byte{b, b[:len(b)/2], b} {
			p.Begin(0)
			err := events.points(&p, content)
			p.Commit(1)
			if is := sum(); is < was {
				t.Errorf("%q: %d after %d, %v", content, is, was, err)
			} else {
				was = is
			}
			d.update(content)
			for j, is := range d.sum[0] {
				if is < before[j] {
					t.Errorf("%q: column %d is %d after %d", content, j, is, before[j])
				}
			}
			before = d.sum[0]
		}
	})
}

// Every line of a file of ZFS that is sent has a name and a number in the file.
func FuzzKstat(f *testing.F) {
	seed(f, "proc/spl/kstat/zfs/arcstats")
	seed(f, "proc/spl/kstat/zfs/tank/objset-0x36")
	f.Fuzz(func(t *testing.T, b []byte) {
		k := kstat{}
		p := series.Points{Table: zfsMetrics}
		for range 2 {
			p.Begin(0)
			k.points(&p, b)
			n := 0
			for l := range strings.SplitSeq(string(b), "\n") {
				if w := words(l); len(w) == 3 && len(w[1]) == 1 && w[1] >= "1" && w[1] <= "4" {
					if _, ok := uintWord(w[2]); ok {
						n++
					}
				}
			}
			if got := p.Commit(1).Len(); got != n {
				t.Errorf("%d points of %q, want %d", got, b, n)
			}
		}
	})
}

// Fields of meminfo that are passed on are those that the slow parser finds.
func FuzzMeminfoFields(f *testing.F) {
	seed(f, "proc/meminfo")
	f.Fuzz(func(t *testing.T, b []byte) {
		s := meminfoFields{globs: []string{"*"}}
		p := series.Points{Table: memoryMetrics}
		p.Begin(0)
		if err := s.points(&p, b); err != nil {
			return
		}
		n := 0
		for l := range strings.SplitSeq(string(b), "\n") {
			if w := words(l); len(w) > 0 && strings.TrimSuffix(w[0], ":") != "" {
				if ok, _ := filepath.Match("*", strings.TrimSuffix(w[0], ":")); ok {
					n++
				}
			}
		}
		if got := p.Commit(1).Len(); got != n {
			t.Errorf("%d points of %q, want %d", got, b, n)
		}
	})
}

// A file of commits gives numbers that stand in it, or nothing.
func FuzzCommits(f *testing.F) {
	seed(f, "sys/fs/btrfs/*/commit_stats")
	f.Fuzz(func(t *testing.T, b []byte) {
		var c btrfsCommit
		if ok := c.parse(b, 0); ok != c.has {
			t.Errorf("%q: %v, has %v", b, ok, c.has)
		}
		for _, n := range []uint64{c.commits, c.ms} {
			if n > 0 && !bytes.Contains(b, strconv.AppendUint(nil, n, 10)) {
				t.Errorf("%d was read of %q", n, b)
			}
		}
	})
}
