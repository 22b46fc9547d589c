package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	podCount          = 110 // what a node runs unless it is told otherwise
	containersOfPod   = 2
	volumesOfPod      = 3
	sleepingProcesses = 1000
)

func podUID(i int) string { return fmt.Sprintf("21c17709-7981-4881-99ce-%012d", i) }

// containerID is the id of container c of pod i: 64 hexadecimal digits, as containerd's.
func containerID(i, c int) string { return fmt.Sprintf("%032x%032x", i+1, c+1) }

// cgroups are those of the pods, in this machine's own kernel: as a kubelet with the cgroupfs
// driver makes them, but below a directory of this process.
type cgroups struct {
	version string   // v1, v2 or "v1 and v2"
	made    []string // parents first
}

// makeCgroups makes them in every hierarchy that has a controller which the agent reads.
func makeCgroups() (*cgroups, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var dirs []string
	c := &cgroups{}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line) // source, mount point, type, options
		if len(f) < 4 {
			continue
		}
		version := map[string]string{"cgroup": "v1", "cgroup2": "v2"}[f[2]]
		if version == "" || version == "v1" && !slices.ContainsFunc(strings.Split(f[3], ","), func(o string) bool {
			return slices.Contains([]string{"cpu", "cpuacct", "memory", "blkio", "pids"}, o)
		}) {
			continue
		}
		dirs = append(dirs, f[1])
		if !strings.Contains(c.version, version) {
			c.version = strings.TrimPrefix(c.version+" and "+version, " and ")
		}
	}
	if len(dirs) == 0 {
		return nil, errors.New("no cgroups are mounted here")
	}
	name := fmt.Sprintf("stint-bench-%d", os.Getpid())
	paths := []string{name, name + "/kubepods", name + "/kubepods/burstable"}
	for i := range podCount {
		pod := name + "/kubepods/burstable/pod" + podUID(i)
		paths = append(paths, pod)
		for n := range containersOfPod {
			paths = append(paths, pod+"/"+containerID(i, n))
		}
	}
	for _, dir := range dirs {
		for _, path := range paths {
			path = filepath.Join(dir, path)
			if err := os.Mkdir(path, 0o755); err != nil {
				return nil, errors.Join(fmt.Errorf("make a cgroup: %w; this takes root", err), c.remove())
			}
			c.made = append(c.made, path)
			// In v2 what is below has a controller if it is on here; v1 has no such file.
			if control := filepath.Join(path, "cgroup.subtree_control"); exists(control) {
				os.WriteFile(control, []byte("+cpu +memory +io +pids"), 0)
			}
		}
	}
	return c, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (c *cgroups) remove() error {
	var errs []error
	for _, path := range slices.Backward(c.made) {
		errs = append(errs, os.Remove(path))
	}
	c.made = nil
	return errors.Join(errs...)
}
