package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"stint/bench/receiver"
)

const (
	root        = "/sys/fs/cgroup"
	containerID = "3f5a0f6c8e0b4a6d9c1e2f3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e"
	// As a kubelet and containerd with the systemd driver make it.
	container = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9.slice/cri-containerd-" + containerID + ".scope"
)

// busy is what the process in the container does: memory, writing, and more CPU time than it may have.
func busy(dir, file string) error {
	if err := os.WriteFile(dir+"/cgroup.procs", []byte("0"), 0); err != nil {
		return err
	}
	memory := make([]byte, 16<<20)
	for i := range memory {
		memory[i] = byte(i)
	}
	fd, err := unix.Open(file, unix.O_CREAT|unix.O_WRONLY|unix.O_DIRECT, 0o600)
	if err != nil {
		return err
	}
	at := -uintptr(unsafe.Pointer(&memory[0])) & 4095 // direct I/O wants an aligned buffer
	for range 4 {
		if _, err := unix.Write(fd, memory[at:at+1<<20]); err != nil {
			return err
		}
	}
	unix.Close(fd)
	var u unix.Rusage
	for cpu := time.Duration(0); cpu < 500*time.Millisecond; {
		for i := range memory {
			memory[i]++
		}
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			return err
		}
		cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	fmt.Println("done")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// checkContainer: a container with limits, of which the kernel's files say the same as the agent.
func checkContainer(ctx context.Context, r *receiver.Receiver) (string, error) {
	dir := root + container
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for path := filepath.Dir(dir); len(path) >= len(root); path = filepath.Dir(path) {
		defer os.Remove(path) // what systemd made stays
	}
	defer os.Remove(dir)
	for path, rest := root, container; ; {
		if err := os.WriteFile(path+"/cgroup.subtree_control", []byte("+cpu +memory +io +pids"), 0); err != nil {
			return "", fmt.Errorf("controllers of %s: %w", path, err)
		}
		name, below, more := strings.Cut(rest[1:], "/")
		if !more {
			break
		}
		path, rest = path+"/"+name, "/"+below
	}
	for file, value := range map[string]string{"cpu.max": "20000 100000", "memory.max": "67108864"} {
		if err := os.WriteFile(dir+"/"+file, []byte(value), 0); err != nil {
			return "", err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, self, "busy", dir, "/var/tmp/written")
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	defer cmd.Wait()
	defer stdin.Close()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "done\n" {
		return "", fmt.Errorf("the busy process said %q: %w", line, err)
	}
	return compareContainer(ctx, r, dir)
}

// compareContainer compares the points of one scrape with the files before and after it.
func compareContainer(ctx context.Context, r *receiver.Receiver, dir string) (string, error) {
	begin, low := time.Now(), kernel(dir)
	words := "container.id=" + containerID
	var at time.Time
	later := func(p receiver.Point) bool { return p.At.After(begin.Add(time.Second)) }
	err := r.Until(ctx, "points of the container", func() bool {
		points := r.Of("container.cpu.time", words)
		i := slices.IndexFunc(points, later)
		if i >= 0 {
			at = points[i].At
		}
		// All of a scrape leaves together, but that it has arrived is known by the next one only.
		return i >= 0 && points[len(points)-1].At.After(at)
	})
	if err != nil {
		return "", err
	}
	high := kernel(dir)
	var errs []error
	var said []string
	for series, a := range low {
		metric, attrs, _ := strings.Cut(series, " ")
		b, found := high[series], false
		for _, p := range r.Of(metric, words+" "+attrs) {
			if !p.At.Equal(at) {
				continue
			}
			found = true
			said = append(said, fmt.Sprintf("%s %v", series, p.Value))
			if p.Value < min(a, b)*0.999 || p.Value > max(a, b)*1.001 || p.Value == 0 {
				errs = append(errs, fmt.Errorf("%s is %v, the kernel's file had %v and %v", series, p.Value, a, b))
			}
		}
		if !found {
			errs = append(errs, fmt.Errorf("no %s; the kernel's file has %v", series, b))
		}
	}
	slices.Sort(said)
	return strings.Join(said, ", "), errors.Join(errs...)
}

// kernel is what the files of the container's cgroup say.
func kernel(dir string) map[string]float64 {
	word := func(file, name string) float64 {
		for line := range strings.Lines(text(dir + "/" + file)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == name {
				return number(f[1])
			}
		}
		return 0
	}
	m := map[string]float64{
		"container.cpu.time":                       word("cpu.stat", "usage_usec") / 1e6,
		"container.cpu.cfs.throttled_period.count": word("cpu.stat", "nr_throttled"),
		"container.cpu.cfs.throttled.time":         word("cpu.stat", "throttled_usec") / 1e6,
		"container.cpu.limit":                      0.2,
		"container.memory.usage":                   number(text(dir + "/memory.current")),
		"container.memory.rss":                     word("memory.stat", "anon"),
		"container.memory.limit":                   64 << 20,
		"container.thread.count":                   number(text(dir + "/pids.current")),
	}
	for f := range strings.FieldsSeq(text(dir + "/cpu.pressure")) {
		if v, ok := strings.CutPrefix(f, "total="); ok { // of some, then of full
			m["container.cpu.pressure.time psi.type=some"] = number(v) / 1e6
			break
		}
	}
	for f := range strings.FieldsSeq(text(dir + "/io.stat")) {
		if v, ok := strings.CutPrefix(f, "wbytes="); ok {
			m["container.disk.io system.device=vda disk.io.direction=write"] = number(v)
		}
		if v, ok := strings.CutPrefix(f, "wios="); ok {
			m["container.disk.operations system.device=vda disk.io.direction=write"] = number(v)
		}
	}
	return m
}

// checkUnits: services of systemd are told of, with the CPU time that their cgroups have.
func checkUnits(ctx context.Context, r *receiver.Receiver) (string, error) {
	services := []string{"systemd-journald.service", "systemd-udevd.service", "dbus.service", "stint-agent.service"}
	begin := time.Now()
	low := map[string]float64{}
	cpu := func(service string) float64 {
		_, rest, _ := strings.Cut(text(root+"/system.slice/"+service+"/cpu.stat"), "usage_usec ")
		n, _, _ := strings.Cut(rest, "\n")
		return number(n) / 1e6
	}
	for _, s := range services {
		if _, err := os.Stat(root + "/system.slice/" + s); err == nil { // dbus may not have been needed
			low[s] = cpu(s)
		}
	}
	if len(low) < 3 {
		return "", fmt.Errorf("only %d of %v have a cgroup", len(low), services)
	}
	var errs []error
	for s, a := range low {
		var p receiver.Point
		err := r.Until(ctx, "systemd.unit.cpu.time of "+s, func() bool {
			points := r.Of("systemd.unit.cpu.time", "systemd.unit.name="+s)
			i := slices.IndexFunc(points, func(p receiver.Point) bool { return p.At.After(begin.Add(time.Second)) })
			if i >= 0 {
				p = points[i]
			}
			return i >= 0
		})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if b := cpu(s); p.Value < a || p.Value > b {
			errs = append(errs, fmt.Errorf("systemd.unit.cpu.time of %s is %v, the kernel's file had %v and %v", s, p.Value, a, b))
		}
		for _, metric := range []string{"systemd.unit.memory.usage", "systemd.unit.task.count"} {
			if len(r.Of(metric, "systemd.unit.name="+s)) == 0 {
				errs = append(errs, fmt.Errorf("no %s of %s", metric, s))
			}
		}
	}
	return fmt.Sprintf("CPU time of %d services between two readings of their files", len(low)), errors.Join(errs...)
}
