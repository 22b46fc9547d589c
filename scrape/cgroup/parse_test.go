package cgroup

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIOStat(t *testing.T) {
	for in, want := range map[string][]disk{
		"": nil,
		"8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n": {{major: 8, minor: 0, v: [diskColumns]uint64{1, 2, 3, 4, 5}}},
		// a device without figures, and no newline behind it
		"8:16 8:0 rbytes=1 wbytes=2 rios=3 wios=4\n":                         {{major: 8, minor: 16, v: [diskColumns]uint64{}}, {major: 8, minor: 0, v: [diskColumns]uint64{1, 2, 3, 4}}},
		"8:0 rbytes=1 cost.vrate=100.00 cost.usage=9 rios=3\n259:1 wios=4\n": {{major: 8, minor: 0, v: [diskColumns]uint64{diskReadBytes: 1, diskReads: 3, diskCost: 9}, costs: true}, {major: 259, minor: 1, v: [diskColumns]uint64{diskWrites: 4}}},
	} {
		var r reading
		if bad, ok := ioStat(&r, []byte(in)); !ok {
			t.Errorf("ioStat(%q) cannot make out %q", in, bad)
		}
		if diff := cmp.Diff(want, r.disks, cmp.AllowUnexported(disk{})); diff != "" {
			t.Errorf("ioStat(%q) (-want +got):\n%s", in, diff)
		}
	}
	for _, in := range []string{"rbytes=1\n", "8:0 rbytes=x\n", "8:x\n", "8\n", "9999:0\n", "8:0 rbytes=99999999999999999999\n"} {
		if _, ok := ioStat(&reading{}, []byte(in)); ok {
			t.Errorf("ioStat(%q) is ok", in)
		}
	}
	var r reading
	many := strings.Builder{}
	for i := range 2 * maxDisks {
		fmt.Fprintf(&many, "8:%d rbytes=1\n", i)
	}
	if _, ok := ioStat(&r, []byte(many.String())); !ok || len(r.disks) != maxDisks {
		t.Errorf("%d devices, want %d", len(r.disks), maxDisks)
	}
}

func TestCPUWeight(t *testing.T) {
	for in, want := range map[string]uint64{"1\n": 2, "100\n": 2597, "39\n": 998, "10000\n": 262144, "0\n": 2} {
		var r reading
		if _, ok := cpuWeight(&r, []byte(in)); !ok || r.v[cpuShares] != want {
			t.Errorf("cpuWeight(%q) = %d, want %d", in, r.v[cpuShares], want)
		}
	}
}

// Whatever a path is, a container has an id that is part of the last name, a pod a uid, and
// none is both; what lies below a container is nothing.
func FuzzIdentify(f *testing.F) {
	for path := range everyPath {
		f.Add(path)
	}
	f.Add("/kubepods/pod" + uid1 + "/kubepods/pod" + uid2)
	f.Add("/0:conmon-" + id("0"))
	f.Fuzz(func(t *testing.T, path string) {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "\x00") || strings.Contains(path+"/", "//") {
			return
		}
		i := identityOf(path)
		last := path[strings.LastIndexByte(path, '/')+1:]
		switch i.kind {
		case container:
			if len(i.id) != 64 || !strings.Contains(last, i.id) || i.descend || strings.Contains(last, "conmon") {
				t.Errorf("%s is %+v", path, i)
			}
			if below := identityOf(path + "/" + id("a")); below.kind != other {
				t.Errorf("below %s is %+v", path, below)
			}
		case pod:
			if i.uid == "" || i.id != "" || !i.kube || !strings.Contains(strings.ReplaceAll(last, "_", "-"), "pod"+i.uid) {
				t.Errorf("%s is %+v", path, i)
			}
		case unit:
			if i.unit != last || i.kube || strings.Count(path, "/") > maxUnitDepth {
				t.Errorf("%s is %+v", path, i)
			}
		}
		if strings.Count(path, "/") >= maxDepth && i.descend {
			t.Errorf("%s is descended into", path)
		}
	})
}

func seedFiles(f *testing.F, names ...string) {
	for _, name := range names {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
}

// A file of words and numbers gives what strconv and strings make of it, or an error that
// shows a line of it.
func FuzzKeyed(f *testing.F) {
	seedFiles(f, "v2/memory.stat", "v2/cpu.stat", "v2/memory.events")
	f.Add([]byte("anon 1\nanon 2\nfile 18446744073709551616\n"))
	parse := keyed(memoryStatV2)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reading
		bad, ok := parse(&r, b)
		if !ok {
			if !strings.Contains(string(b), string(bad)) {
				t.Errorf("%q is not part of %q", bad, b)
			}
			return
		}
		want := map[field]uint64{}
		for l := range strings.SplitSeq(string(b), "\n") {
			words := strings.FieldsFunc(l, func(r rune) bool { return r == ' ' || r == '\t' })
			if len(words) == 0 {
				continue
			}
			if k, known := memoryStatV2[words[0]]; known {
				n, err := strconv.ParseUint(words[1], 10, 64)
				if err != nil {
					t.Fatalf("%q was read as a number", l)
				}
				want[k.field] = n
			}
		}
		for k, n := range want {
			if !r.has.has(k) || r.v[k] != n {
				t.Errorf("field %d is %d, want %d", k, r.v[k], n)
			}
		}
		if len(want) == 0 {
			t.Errorf("%q has nothing and is ok", b)
		}
	})
}

// The pressure that is read is the number that stands behind total=.
func FuzzPressure(f *testing.F) {
	seedFiles(f, "v2/cpu.pressure", "v2/memory.pressure")
	f.Add([]byte("some total=20000000000000000"))
	parse := pressure(psiCPUSome, psiCPUFull)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reading
		if _, ok := parse(&r, b); !ok {
			return
		}
		r.has.each(func(x field) {
			if !strings.Contains(string(b), "total=") || !strings.Contains(string(b), strconv.FormatUint(r.v[x]/1000, 10)) {
				t.Errorf("%d was read of %q", r.v[x], b)
			}
		})
		if r.has == 0 {
			t.Errorf("%q has nothing and is ok", b)
		}
	})
}

// Devices and their figures printed again, and read again, are the same.
func FuzzDisks(f *testing.F) {
	seedFiles(f, "v2/io.stat", "v1/blkio/blkio.throttle.io_service_bytes_recursive")
	f.Add([]byte("8:16 8:0 rbytes=1\n"))
	v1 := blkio(diskReadBytes, diskWriteBytes)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again reading
		if _, ok := ioStat(&r, b); ok {
			var text strings.Builder
			for _, d := range r.disks {
				fmt.Fprintf(&text, "%d:%d rbytes=%d wbytes=%d rios=%d wios=%d dbytes=%d", d.major, d.minor, d.v[0], d.v[1], d.v[2], d.v[3], d.v[4])
				for i, name := range diskCosts {
					if d.costs {
						fmt.Fprintf(&text, " cost.%s=%d", name, d.v[diskCost+i])
					}
				}
				text.WriteByte('\n')
			}
			if bad, ok := ioStat(&again, []byte(text.String())); !ok {
				t.Errorf("cannot make out %q", bad)
			} else if diff := cmp.Diff(r.disks, again.disks, cmp.AllowUnexported(disk{})); diff != "" {
				t.Error(diff)
			}
		}
		r, again = reading{}, reading{}
		if _, ok := v1(&r, b); ok {
			var text strings.Builder
			for _, d := range r.disks {
				fmt.Fprintf(&text, "%d:%d Read %d\n%d:%d Write %d\n", d.major, d.minor, d.v[0], d.major, d.minor, d.v[1])
			}
			if bad, ok := v1(&again, []byte(text.String())); !ok {
				t.Errorf("cannot make out %q", bad)
			} else if diff := cmp.Diff(r.disks, again.disks, cmp.AllowUnexported(disk{})); diff != "" {
				t.Error(diff)
			}
		}
	})
}

// Queues of devices printed again, and read again, are the same.
func FuzzQueues(f *testing.F) {
	seedFiles(f, "v1/blkio/blkio.bfq.io_queued_recursive", "v1/blkio/blkio.bfq.sectors_recursive")
	parse := blkioQueue(3)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again reading
		if _, ok := parse(&r, b); !ok {
			return
		}
		var text strings.Builder
		for _, d := range r.disks {
			if d.queued != 1<<3 {
				t.Errorf("%q: queues %b", b, d.queued)
			}
			fmt.Fprintf(&text, "%d:%d %d\n", d.major, d.minor, d.v[diskQueue+3])
		}
		if bad, ok := parse(&again, []byte(text.String())); !ok {
			t.Errorf("cannot make out %q", bad)
		} else if diff := cmp.Diff(r.disks, again.disks, cmp.AllowUnexported(disk{})); diff != "" {
			t.Error(diff)
		}
	})
}

// What is read of memory nodes stands in the file under its word.
func FuzzNUMAStat(f *testing.F) {
	seedFiles(f, "v2/memory.numa_stat", "v1/memory/memory.numa_stat")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []struct {
			prefix string
			end    byte
		}{{"", ' '}, {"hierarchical_", '='}} {
			var r reading
			if _, ok := numaStat(v.prefix, v.end, 1)(&r, b); !ok {
				continue
			}
			for _, row := range r.numa {
				found := false
				for l := range strings.SplitSeq(string(b), "\n") {
					for _, word := range strings.FieldsFunc(l, func(r rune) bool { return r == ' ' || r == '\t' }) {
						name, value, _ := strings.Cut(word, "=")
						n, err := strconv.ParseUint(value, 10, 64)
						node, err2 := strconv.ParseUint(strings.TrimPrefix(name, "N"), 10, 64)
						found = found || strings.HasPrefix(l, v.prefix+numaTypes[row.kind]+string(v.end)) && err == nil && err2 == nil && n == row.bytes && node == uint64(row.node)
					}
				}
				if !found {
					t.Errorf("%+v was read of %q", row, b)
				}
			}
		}
	})
}

// The id that is found of a process stands in its file, and of all cgroups of containers one is found.
func FuzzIDIn(f *testing.F) {
	for path := range everyPath {
		f.Add([]byte("0::" + path + "\n"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if id := string(idIn(b)); id != "" && (len(id) != idLength || containerID(id) != id || !strings.Contains(string(b), id)) {
			t.Errorf("%q of %q", id, b)
		}
		for l := range strings.SplitSeq(string(b), "\n") {
			if _, path, ok := strings.Cut(l, "::/"); ok && path != "" && !strings.Contains(path, "//") {
				if i := identityOf("/" + path); i.kind == container && idIn(b) == nil {
					t.Errorf("no id in %q", b)
				}
			}
		}
	})
}

// What is read as segments sent again is a number of the second line of Tcp.
func FuzzRetransmitted(f *testing.F) {
	seedFiles(f, "proc/net/snmp")
	f.Add([]byte("Tcp: RetransSegs\nTcp: 7"))
	f.Add([]byte("Tcp:RetransSegs\nTcp:\nTcp:0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := retransmitted(b)
		var lines []string
		for l := range strings.SplitSeq(string(b), "\n") {
			if l, ok := strings.CutPrefix(l, "Tcp:"); ok {
				lines = append(lines, l)
			}
		}
		if !ok || len(lines) < 2 {
			if ok {
				t.Errorf("%d of %q", n, b)
			}
			return
		}
		split := func(l string) []string {
			return strings.FieldsFunc(l, func(r rune) bool { return r == ' ' || r == '\t' })
		}
		at := slices.Index(split(lines[0]), "RetransSegs")
		if at < 0 || at >= len(split(lines[1])) || strconv.FormatUint(n, 10) != strings.TrimLeft(split(lines[1])[at], "0") && n > 0 {
			t.Errorf("%d of %q", n, b)
		}
	})
}

// Limits are numbers below 2^62, or none.
func FuzzLimit(f *testing.F) {
	for _, s := range []string{"max\n", "-1\n", "536870912\n", "9223372036854771712\n", "max 100000\n", "50000 100000\n", "1 0\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reading
		words := strings.Fields(string(b))
		if _, ok := limit(memLimit)(&r, b); ok {
			n, err := strconv.ParseUint(words[0], 10, 64)
			none := words[0] == "max" || words[0] == "-1" || n >= noLimit
			if len(words) != 1 || r.has.has(memLimit) == none || !none && (err != nil || r.v[memLimit] != n) {
				t.Errorf("limit(%q) = %d, %v", b, r.v[memLimit], r.has.has(memLimit))
			}
		}
		r = reading{}
		if _, ok := cpuMax(&r, b); ok {
			if len(words) != 2 || r.has.has(cpuQuota) != (words[0] != "max") || r.has.has(cpuQuota) && r.v[cpuPeriod] == 0 {
				t.Errorf("cpuMax(%q) = %d of %d", b, r.v[cpuQuota], r.v[cpuPeriod])
			}
		}
	})
}

// Controllers and mounts that are found stand in what was read, and nothing panics.
func FuzzHierarchies(f *testing.F) {
	for _, l := range layouts {
		f.Add([]byte(l.cgroup), []byte(l.mountinfo))
	}
	f.Fuzz(func(t *testing.T, lines, mountinfo []byte) {
		claimed, err := parseClaimed(lines)
		for name := range claimed {
			if err != nil || !strings.Contains(string(lines), name) || strings.ContainsAny(name, ":\n,") {
				t.Errorf("controller %q of %q, %v", name, lines, err)
			}
		}
		v1, v2 := parseMounts(mountinfo)
		if _, ok := v1[""]; ok || v2 != "" && !strings.Contains(string(mountinfo), "cgroup2") {
			t.Errorf("%q, %q of %q", v1, v2, mountinfo)
		}
		for name := range v1 {
			if !strings.Contains(string(mountinfo), name) {
				t.Errorf("mount of %q in %q", name, mountinfo)
			}
		}
	})
}
