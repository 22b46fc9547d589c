package cgroup

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"

	"stint/scrape/kernel"
)

// controller is a part of the kernel whose figures lie in files of a cgroup.
type controller int

const (
	ctlCPU controller = iota
	ctlCPUAcct
	ctlMemory
	ctlBlkio // io on v2
	ctlPids
	ctlHugetlb
	ctlPSI // pressure files: always v2, whichever controllers are
	controllers
)

// names of controllers, as v1 and as v2 know them. On v2 the time is in cpu.stat of every cgroup, with the
// controller cpu or without, and pressure is nobody's.
var controllerNames = [controllers][2]string{
	ctlCPU: {"cpu", "cpu"}, ctlCPUAcct: {"cpuacct", ""}, ctlMemory: {"memory", "memory"}, ctlBlkio: {"blkio", "io"},
	ctlPids: {"pids", "pids"}, ctlHugetlb: {"hugetlb", "hugetlb"}, ctlPSI: {"", ""},
}

// hierarchy is a mounted tree of cgroups.
type hierarchy struct {
	dir string // where it is mounted, below the root path; empty: nowhere
	v2  bool
}

// hierarchies tells where the files of each controller are.
type hierarchies struct {
	of   [controllers]hierarchy
	tree string // directory in which cgroups are looked for
}

// noCgroups says that nothing useful is mounted.
var errNoCgroups = errors.New("no cgroup hierarchy with cpu, cpuacct, memory, blkio or pids is mounted")

// findHierarchies decides for each controller by itself, from what process 1 sees. Neither
// file is enough: a controller that v1 has claimed may not be mounted, and a mount of v2
// beside those of v1 may have no controller, or some (the hybrid of systemd).
func findHierarchies(root string) (h hierarchies, err error) {
	lines, err := os.ReadFile(root + "/proc/1/cgroup")
	if err != nil {
		return h, err
	}
	mountinfo, err := os.ReadFile(root + "/proc/1/mountinfo")
	if err != nil {
		return h, err
	}
	claimed, err := parseClaimed(lines)
	if err != nil {
		return h, err
	}
	v1, v2 := parseMounts(mountinfo)

	var onV2 []string
	if v2 != "" {
		b, err := os.ReadFile(root + v2 + "/cgroup.controllers")
		if err != nil {
			return h, err
		}
		onV2 = strings.Fields(string(b))
	}
	for c, names := range controllerNames {
		switch dir, mounted := v1[names[0]]; {
		case claimed[names[0]]:
			if mounted {
				h.of[c] = hierarchy{dir: root + dir}
			}
		case v2 != "" && (names[1] == "" || slices.Contains(onV2, names[1])):
			h.of[c] = hierarchy{dir: root + v2, v2: true}
		}
	}
	// Runtimes make a container's cgroup in every hierarchy; systemd makes those of units only
	// where something is accounted, memory by default.
	for _, c := range []controller{ctlMemory, ctlCPUAcct, ctlCPU, ctlPids, ctlBlkio} {
		if h.of[c].dir != "" {
			h.tree = h.of[c].dir
			return h, nil
		}
	}
	return h, errNoCgroups
}

// parseClaimed reads /proc/<pid>/cgroup, which has a line ID:CONTROLLERS:PATH for each
// hierarchy, and tells which controllers v1 has. The line of v2 has no controllers.
func parseClaimed(b []byte) (map[string]bool, error) {
	claimed := map[string]bool{}
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		id, rest, ok := bytes.Cut(l, []byte(":"))
		names, path, ok2 := bytes.Cut(rest, []byte(":"))
		_, _, ok3 := kernel.Number(id)
		if !ok || !ok2 || !ok3 || len(path) == 0 || path[0] != '/' {
			return nil, kernel.Malformed("/proc/1/cgroup", l)
		}
		for name := range strings.SplitSeq(string(names), ",") {
			if name != "" {
				claimed[name] = true
			}
		}
	}
	return claimed, nil
}

// parseMounts finds in mountinfo where each controller of v1, and v2, is mounted. Of several
// mounts of one the one nearest to the tree's root counts, the last of equals, which hides
// the others.
func parseMounts(b []byte) (v1 map[string]string, v2 string) {
	depth, depthV2 := map[string]int{}, -1
	v1 = map[string]string{}
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		left, right, ok := strings.Cut(string(l), " - ")
		a, z := strings.Fields(left), strings.Fields(right)
		if !ok || len(a) < 5 || len(z) < 3 {
			continue
		}
		mountPoint, d := kernel.Unescape(a[4]), len(strings.Trim(a[3], "/"))
		switch z[0] {
		case "cgroup":
			for name := range strings.SplitSeq(z[2], ",") {
				if was, ok := depth[name]; !ok || d <= was {
					v1[name], depth[name] = mountPoint, d
				}
			}
		case "cgroup2":
			if depthV2 < 0 || d <= depthV2 {
				v2, depthV2 = mountPoint, d
			}
		}
	}
	delete(v1, "") // of a stray comma; controllers without a name here are of v2 alone
	return v1, v2
}
