package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"stint/bench/receiver"
)

// host is what /proc says, by metric and the words of its series.
type host map[[2]string]float64

func number(s string) float64 {
	n, _ := strconv.ParseFloat(s, 64)
	return n
}

func readHost() host {
	h := host{}
	for line := range strings.Lines(text("/proc/stat")) {
		f := strings.Fields(line)
		switch f[0] {
		case "cpu":
			for i, mode := range []string{"user", "nice", "system"} {
				h[[2]string{"system.cpu.time", "cpu.mode=" + mode}] = number(f[i+1]) / 100 // USER_HZ
			}
		case "ctxt":
			h[[2]string{"system.cpu.context_switch.count"}] = number(f[1])
		case "intr":
			h[[2]string{"system.cpu.interrupt.count"}] = number(f[1])
		case "processes":
			h[[2]string{"system.process.created"}] = number(f[1])
		}
	}
	h[[2]string{"system.uptime"}] = number(strings.Fields(text("/proc/uptime"))[0])
	for line := range strings.Lines(text("/proc/meminfo")) {
		if f := strings.Fields(line); f[0] == "MemTotal:" {
			h[[2]string{"system.memory.limit"}] = number(f[1]) * 1024
		}
	}
	vmstat := map[string]float64{}
	for line := range strings.Lines(text("/proc/vmstat")) {
		f := strings.Fields(line)
		vmstat[f[0]] = number(f[1])
	}
	h[[2]string{"system.paging.faults", "system.paging.fault.type=major"}] = vmstat["pgmajfault"]
	h[[2]string{"system.paging.faults", "system.paging.fault.type=minor"}] = vmstat["pgfault"] - vmstat["pgmajfault"]
	for line := range strings.Lines(text("/proc/diskstats")) {
		if f := strings.Fields(line); f[2] == "vda" {
			h[[2]string{"system.disk.io", "system.device=vda disk.io.direction=read"}] = number(f[5]) * 512
			h[[2]string{"system.disk.io", "system.device=vda disk.io.direction=write"}] = number(f[9]) * 512
			h[[2]string{"system.disk.operations", "system.device=vda disk.io.direction=write"}] = number(f[7])
		}
	}
	for line := range strings.Lines(text("/proc/net/dev")) {
		if name, rest, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name == "lo" {
			h[[2]string{"system.network.io", "network.interface.name=lo network.io.direction=receive"}] = number(strings.Fields(rest)[0])
		}
	}
	for _, resource := range []string{"cpu", "io", "memory"} {
		for line := range strings.Lines(text("/proc/pressure/" + resource)) {
			if f := strings.Fields(line); f[0] == "some" {
				h[[2]string{"system." + resource + ".pressure.time", "psi.type=some"}] = number(strings.TrimPrefix(f[len(f)-1], "total=")) / 1e6
			}
		}
	}
	return h
}

// checkHost: each point so far lies between what /proc said before the agent's start and what it says now.
func checkHost(ctx context.Context, r *receiver.Receiver, before host) (string, error) {
	var from time.Time
	for range 3 { // scrapes
		err := r.Until(ctx, "scrape of the host", func() bool {
			return slices.ContainsFunc(r.Of("system.uptime", ""), func(p receiver.Point) bool { return p.At.After(from) })
		})
		if err != nil {
			return "", err
		}
		from = time.Now()
	}
	var errs []error
	compared := 0
	points := map[[2]string][]receiver.Point{}
	for series := range before {
		points[series] = r.Of(series[0], series[1])
	}
	after := readHost() // later than what has arrived
	for series, low := range before {
		if len(points[series]) == 0 {
			errs = append(errs, fmt.Errorf("no %v", series))
		}
		for _, p := range points[series] {
			compared++
			if high := after[series]; p.Value < low-1e-6*low || p.Value > high+1e-6*high {
				errs = append(errs, fmt.Errorf("%v is %v, /proc had %v and %v", series, p.Value, low, high))
			}
		}
	}
	return fmt.Sprintf("%d points of %d series between two readings of /proc", compared, len(before)), errors.Join(errs...)
}

// checkJournal: what logger(1) and systemd-cat(1) write arrives, each line once.
func checkJournal(ctx context.Context, r *receiver.Receiver) (string, error) {
	const lines = 50
	var input strings.Builder
	for i := range lines {
		fmt.Fprintf(&input, "by systemd-cat %d\n", i)
	}
	for i := range lines {
		if out, err := exec.CommandContext(ctx, "logger", "-t", "stint-logger", fmt.Sprintf("by logger %d", i)).CombinedOutput(); err != nil {
			return "", fmt.Errorf("logger: %w: %s", err, out)
		}
	}
	cat := exec.CommandContext(ctx, "systemd-cat", "-t", "stint-cat", "cat")
	cat.Stdin = strings.NewReader(input.String())
	if out, err := cat.CombinedOutput(); err != nil {
		return "", fmt.Errorf("systemd-cat: %w: %s", err, out)
	}
	err := r.Until(ctx, "lines of the journal", func() bool {
		return journal(r, "stint-logger", "by logger ") >= lines && journal(r, "stint-cat", "by systemd-cat ") >= lines
	})
	if err != nil {
		return "", err
	}
	came := bodies(r)
	for i := range lines {
		a, b := fmt.Sprintf("by logger %d", i), fmt.Sprintf("by systemd-cat %d", i)
		if n, m := came[a], came[b]; n != 1 || m != 1 {
			return "", fmt.Errorf("%q came %d times, %q %d times", a, n, b, m)
		}
	}
	return fmt.Sprintf("%d lines by logger, %d by systemd-cat, each once", lines, lines), nil
}

// journal is how many records of an identifier have a body that begins so.
func journal(r *receiver.Receiver, identifier, begin string) (n int) {
	for _, l := range r.Logs("service.name=" + identifier) {
		if strings.HasPrefix(l.Body, begin) {
			n++
		}
	}
	return n
}
