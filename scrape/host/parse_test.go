package host

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"stint/scrape/kernel"
)

// seed adds a file of every captured machine.
func seed(f *testing.F, path string) {
	files, err := filepath.Glob("testdata/*/" + path)
	if err != nil || len(files) == 0 {
		f.Fatalf("no captures of %s: %v", path, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
}

// words splits lines at the blanks that the kernel uses.
func words(l string) []string {
	return strings.FieldsFunc(l, func(r rune) bool { return r == ' ' || r == '\t' })
}

func uintWord(s string) (uint64, bool) {
	if strings.HasPrefix(s, "+") || strings.Contains(s, "_") {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// naiveKeys reads files of "key value" lines the slow way: the last value of each key.
func naiveKeys(b []byte, index map[string]int) (map[int]uint64, bool) {
	got := map[int]uint64{}
	for l := range strings.SplitSeq(string(b), "\n") {
		w := words(l)
		if len(w) == 0 {
			continue
		}
		i, ok := index[w[0]]
		if !ok {
			continue
		}
		if len(w) == 1 {
			return nil, false
		}
		n, ok := uintWord(w[1])
		if !ok {
			return nil, false
		}
		if len(w) > 2 && w[2] == "kB" {
			n *= 1024
		}
		got[i] = n
	}
	return got, true
}

func FuzzMeminfo(f *testing.F) {
	seed(f, "proc/meminfo")
	f.Fuzz(func(t *testing.T, b []byte) {
		var m meminfo
		err := parseMeminfo(&m, b)
		want, ok := naiveKeys(b, meminfoIndex)
		if err != nil {
			for _, v := range want {
				ok = ok && v <= 1<<53
			}
			if _, total := want[memTotal]; ok && total {
				t.Fatalf("refused: %v", err)
			}
			return
		}
		if !ok {
			t.Fatal("accepted what the slow parser refuses")
		}
		got := map[int]uint64{}
		for i := range m.v {
			if m.has[i] {
				got[i] = m.v[i]
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		// A second parse into the same struct forgets the first.
		if parseMeminfo(&m, []byte("MemTotal: 1 kB\n")); m.has[memFree] {
			t.Error("kept a value of the file before")
		}
	})
}

func FuzzVmstat(f *testing.F) {
	seed(f, "proc/vmstat")
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte("kB")) {
			return
		}
		// The fast parser looks at lines that begin with a key only.
		var keep []string
		for l := range strings.SplitSeq(string(b), "\n") {
			if !strings.HasPrefix(l, " ") && !strings.HasPrefix(l, "\t") {
				keep = append(keep, l)
			}
		}
		want, ok := naiveKeys([]byte(strings.Join(keep, "\n")), vmstatIndex)
		var s vmstat
		err := parseVmstat(&s, b)
		if _, faults := want[vmFault]; (err == nil) != (ok && faults) {
			t.Fatalf("error %v, slow parser: %v %v", err, ok, want)
		}
		if err != nil {
			return
		}
		got := map[int]uint64{}
		for i := range s.v {
			if s.has[i] {
				got[i] = s.v[i]
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// A stat that was parsed is printed, and parsed again to the same. Lines that are not known
// change nothing.
func FuzzStat(f *testing.F) {
	seed(f, "proc/stat")
	f.Fuzz(func(t *testing.T, b []byte) {
		s := stat{perCPU: true}
		if err := parseStat(&s, b); err != nil {
			return
		}
		var out bytes.Buffer
		cpu := func(name string, c *cpuLine) {
			fmt.Fprint(&out, name)
			for _, v := range c.ticks[:c.n] {
				fmt.Fprintf(&out, " %d", v)
			}
			fmt.Fprintln(&out)
		}
		cpu("cpu ", &s.total)
		for i := range s.cpus {
			cpu(fmt.Sprintf("cpu%d", s.cpus[i].id), &s.cpus[i])
		}
		fmt.Fprintf(&out, "softirq 1 2 3\nnew line\nbtime %d\n", s.btime)
		for _, c := range []struct {
			has  statHas
			name string
			v    uint64
		}{{hasIntr, "intr", s.intr}, {hasCtxt, "ctxt", s.ctxt}, {hasProcesses, "processes", s.processes},
			{hasRunning, "procs_running", s.running}, {hasBlocked, "procs_blocked", s.blocked}} {
			if s.has&c.has != 0 {
				fmt.Fprintf(&out, "%s %d\n", c.name, c.v)
			}
		}
		again := stat{perCPU: true}
		if err := parseStat(&again, out.Bytes()); err != nil {
			t.Fatalf("printed and not parsed: %v\n%s", err, out.Bytes())
		}
		if s.online != len(s.cpus) {
			t.Errorf("%d online CPUs, %d lines", s.online, len(s.cpus))
		}
		if diff := cmp.Diff(fmt.Sprint(clean(s)), fmt.Sprint(clean(again))); diff != "" {
			t.Errorf("parsed anew (-was +is):\n%s", diff)
		}
		total := stat{}
		if err := parseStat(&total, out.Bytes()); err != nil || total.online != s.online || len(total.cpus) != 0 {
			t.Errorf("without per-CPU lines: %v, %d online", err, total.online)
		}
	})
}

// clean zeroes times beyond those that a line has.
func clean(s stat) stat {
	clear(s.total.ticks[s.total.n:])
	for i := range s.cpus {
		clear(s.cpus[i].ticks[s.cpus[i].n:])
	}
	return s
}

func FuzzLoadavg(f *testing.F) {
	seed(f, "proc/loadavg")
	f.Fuzz(func(t *testing.T, b []byte) {
		var a loadavg
		if err := parseLoadavg(&a, b); err != nil {
			return
		}
		w := strings.FieldsFunc(string(b), func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })
		for i, v := range a.load {
			if want, err := strconv.ParseFloat(w[i], 64); err != nil || v != want {
				t.Errorf("load %d of %q = %v, want %v", i, b, v, want)
			}
		}
		if _, total, ok := strings.Cut(w[3], "/"); !ok || strconv.FormatUint(a.threads, 10) != strings.TrimLeft(total, "0") && a.threads != 0 {
			t.Errorf("threads of %q = %d", b, a.threads)
		}
	})
}

// A line of numbers behind a name: the numbers are those of the slow parser.
func FuzzDiskstats(f *testing.F) {
	seed(f, "proc/diskstats")
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			var l []byte
			l, b = kernel.Line(b)
			var d diskstats
			ok := d.parse(l)
			w := words(string(l))
			var want []uint64
			for i := 3; i < len(w) && len(want) < dsColumns; i++ {
				n, ok := uintWord(w[i])
				if !ok {
					break
				}
				want = append(want, n)
			}
			if ok != (len(want) > dsWeightedMS) {
				t.Fatalf("parse(%q) = %v, numbers %v", l, ok, want)
			}
			if ok && (string(d.name) != w[2] || !slices.Equal(d.v[:d.n], want)) {
				t.Errorf("parse(%q) = %q %v, want %q %v", l, d.name, d.v[:d.n], w[2], want)
			}
			for _, v := range d.v[min(d.n, dsColumns):] {
				if v != 0 {
					t.Errorf("a column that the line does not have is %d", v)
				}
			}
		}
	})
}

func FuzzNetDev(f *testing.F) {
	seed(f, "proc/1/net/dev")
	f.Add([]byte("eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			var l []byte
			l, b = kernel.Line(b)
			var d kernel.NetDev
			head, ok := d.Parse(l)
			name, rest, colon := strings.Cut(string(l), ":")
			if head == colon && colon || head && ok {
				t.Fatalf("parse(%q): head %v, ok %v", l, head, ok)
			}
			if !ok {
				continue
			}
			w := words(rest)
			if len(words(name)) != 1 || words(name)[0] != string(d.Name) {
				t.Errorf("parse(%q): name %q", l, d.Name)
			}
			for i, v := range d.V {
				if want, ok := uintWord(w[i]); !ok || v != want {
					t.Errorf("parse(%q): column %d = %d", l, i, v)
				}
			}
		}
	})
}

func FuzzSwaps(f *testing.F) {
	seed(f, "proc/swaps")
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			var l []byte
			l, b = kernel.Line(b)
			var s swap
			head, ok := s.parse(l)
			if head && ok {
				t.Fatalf("parse(%q) is both", l)
			}
			if !ok {
				continue
			}
			w := words(string(l))
			if s.used > s.size || string(s.name) != w[0] || strconv.FormatUint(s.size/1024, 10) != strings.TrimLeft(w[2], "0") && s.size > 0 {
				t.Errorf("parse(%q) = %q %d of %d", l, s.name, s.used, s.size)
			}
		}
	})
}

func FuzzSockstat(f *testing.F) {
	seed(f, "proc/1/net/sockstat")
	seed(f, "proc/1/net/sockstat6")
	f.Fuzz(func(t *testing.T, b []byte) {
		var s kernel.Sockstat
		if err := s.Parse(b); err != nil {
			return
		}
		for i, key := range map[int][2]string{kernel.SockAll: {"sockets", "used"}, kernel.SockTCPInuse: {"TCP", "inuse"}, kernel.SockTCPTimeWait: {"TCP", "tw"},
			kernel.SockTCPPages: {"TCP", "mem"}, kernel.SockUDPPages: {"UDP", "mem"}, kernel.SockFragBytes: {"FRAG", "memory"}} {
			want, has := uint64(0), false
			for l := range strings.SplitSeq(string(b), "\n") {
				w := words(l)
				if len(w) == 0 || strings.TrimSuffix(strings.TrimSuffix(w[0], ":"), "6") != key[0] {
					continue
				}
				for j := 1; j+1 < len(w); j += 2 {
					if w[j] == key[1] {
						want, has = must(uintWord(w[j+1]))
					}
				}
			}
			if s.Has[i] != has || has && s.V[i] != want {
				t.Errorf("%s %s of %q = %d, %v, want %d, %v", key[0], key[1], b, s.V[i], s.Has[i], want, has)
			}
		}
	})
}

func must(n uint64, ok bool) (uint64, bool) {
	if !ok {
		panic("accepted what is no number")
	}
	return n, true
}

func FuzzConntrack(f *testing.F) {
	seed(f, "proc/1/net/stat/nf_conntrack")
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseConntrack(b)
		if err != nil {
			return
		}
		_, row, _ := strings.Cut(string(b), "\n")
		row, _, _ = strings.Cut(row, "\n")
		if want, err := strconv.ParseUint(words(row)[0], 16, 64); err != nil || n != want {
			t.Errorf("entries of %q = %d, want %d, %v", b, n, want, err)
		}
	})
}

// Of any list of mounts one a device is kept, and it is visible and the best of them.
func FuzzOnePerDevice(f *testing.F) {
	f.Add("1 / / 1 / /mnt 2 /sub /data 2 / /data")
	f.Fuzz(func(t *testing.T, s string) {
		w := strings.FieldsFunc(s, unicode.IsSpace)
		var all []mountinfo
		for ; len(w) >= 3; w = w[3:] {
			all = append(all, mountinfo{device: w[0], root: w[1], mountPoint: w[2]})
		}
		kept := onePerDevice(all)
		devices := map[string]mountinfo{}
		for _, m := range kept {
			if _, twice := devices[m.device]; twice {
				t.Errorf("two mounts of %s", m.device)
			}
			devices[m.device] = m
		}
		for i, m := range all {
			hidden := slices.ContainsFunc(all[i+1:], func(later mountinfo) bool { return later.mountPoint == m.mountPoint })
			k, ok := devices[m.device]
			if !hidden && (!ok || preferred(m, k) < 0) {
				t.Errorf("%v is visible, but %v is kept", m, k)
			}
			if hidden && k == m && !slices.Contains(all[i+1:], m) {
				t.Errorf("%v is hidden and kept", m)
			}
		}
	})
}

func FuzzPSI(f *testing.F) {
	seed(f, "proc/pressure/memory")
	f.Fuzz(func(t *testing.T, b []byte) {
		var s psi
		if err := parsePSI(&s, "x", b); err != nil {
			if s.has != [psiKinds]bool{} {
				t.Error("kept values of what it refused")
			}
			return
		}
		for kind, name := range []string{psiSome: "some", psiFull: "full"} {
			want, has := uint64(0), false
			for l := range strings.SplitSeq(string(b), "\n") {
				w := strings.FieldsFunc(l, func(r rune) bool { return r == ' ' || r == '\t' })
				if len(w) > 4 && w[0] == name {
					total, ok := strings.CutPrefix(w[4], "total=")
					if !ok {
						t.Fatalf("accepted %q", l)
					}
					want, has = must(uintWord(total))
				}
			}
			if s.has[kind] != has || has && s.total[kind] != want {
				t.Errorf("%s of %q = %d, %v, want %d, %v", name, b, s.total[kind], s.has[kind], want, has)
			}
		}
	})
}

// A file is read the same whether or not places of columns are known from another one.
func FuzzSNMP(f *testing.F) {
	seed(f, "proc/1/net/snmp")
	f.Fuzz(func(t *testing.T, b []byte) {
		index := map[string]int{"Tcp.InSegs": 0, "Udp.InErrors": 1, "Tcp.CurrEstab": 2}
		file := filepath.Join(t.TempDir(), "snmp")
		read := func(s *snmp, content []byte) (v [3]uint64, has [3]bool, failed bool) {
			if err := os.WriteFile(file, content, 0o644); err != nil {
				t.Fatal(err)
			}
			failed = s.read(v[:], has[:]) != nil
			return v, has, failed
		}
		fresh := snmp{File: kernel.NewFile(file), index: index}
		defer fresh.Close()
		v, has, failed := read(&fresh, b)
		used := snmp{File: kernel.NewFile(file), index: index}
		defer used.Close()
		read(&used, []byte("Ip: A\nIp: 1\nTcp: InSegs X CurrEstab\nTcp: 5 -1 6\nUdp: InErrors\nUdp: 7\n"))
		if v2, has2, failed2 := read(&used, b); v2 != v || has2 != has || failed2 != failed {
			t.Errorf("%q: %v %v %v, with known places %v %v %v", b, v, has, failed, v2, has2, failed2)
		}
	})
}

// Counters never step back, whatever comes. What newer kernels write behind the columns that are
// known is left alone.
func FuzzSoftnet(f *testing.F) {
	seed(f, "proc/1/net/softnet_stat")
	f.Fuzz(func(t *testing.T, b []byte) {
		s := softnet{cpus: map[int]*softnetClock{}}
		sum := func() (n uint64) {
			for _, c := range s.list {
				n += c.v[snDropped]
			}
			return n
		}
		was := uint64(0)
		for _, content := range [][]byte{b, []byte("1 2 3\n1 2 3\n"), b, b[:len(b)/2], b} {
			err := s.update(content)
			for l := range strings.Lines(string(content)) {
				w := words(strings.TrimSuffix(l, "\n"))
				if known := strings.Join(w[:min(len(w), snColumns)], " "); err == nil && strings.Contains(known, "g") {
					t.Errorf("accepted %q", content)
				}
			}
			if is := sum(); is < was {
				t.Errorf("%q: %d after %d", content, is, was)
			} else {
				was = is
			}
		}
	})
}
