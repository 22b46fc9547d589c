package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a child with its output in files.
type process struct {
	cmd    *exec.Cmd
	name   string
	stdout string // path
	stderr string // path
	done   chan struct{}
	err    error // of Wait; valid when done is closed
}

// startProcess starts a command on one CPU, -1 = any, with GOMAXPROCS=1.
func startProcess(dir, name string, cpu int, path string, args ...string) (*process, error) {
	p := &process{
		name: name, done: make(chan struct{}),
		stdout: filepath.Join(dir, name+".out"), stderr: filepath.Join(dir, name+".err"),
	}
	p.cmd = exec.Command(path, args...)
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := os.Create(p.stdout)
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	stderr, err := os.Create(p.stderr)
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr

	started := make(chan error)
	go func() {
		// The child has the CPUs of the thread that makes it, and dies with
		// that thread (Pdeathsig), so this goroutine keeps it to itself.
		runtime.LockOSThread()
		if cpu >= 0 {
			var set unix.CPUSet
			set.Set(cpu)
			if err := unix.SchedSetaffinity(0, &set); err != nil {
				started <- fmt.Errorf("pin %s to CPU %d: %w", name, cpu, err)
				return
			}
		}
		if err := p.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// stop asks the process to end and waits for it; it kills it after 10 s.
func (p *process) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("%s: %w: %s", p.name, p.err, tail(p.stderr))
		}
		return nil
	case <-time.After(10 * time.Second):
		p.kill()
		return fmt.Errorf("%s: still there 10 s after SIGTERM: %s", p.name, tail(p.stderr))
	}
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// gone returns an error when the process has ended.
func (p *process) gone() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended: %v: %s", p.name, p.err, tail(p.stderr))
	default:
		return nil
	}
}

// tail is the end of a file, for messages.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text[max(len(text)-2000, 0):]))
}

// cpuTime is what the process has used: fields 14 and 15 of /proc/<pid>/stat,
// in ticks of 10 ms.
func (p *process) cpuTime() (user, system time.Duration, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("CPU time of %s: %w", p.name, err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may hold spaces
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, 0, fmt.Errorf("CPU time of %s: %q is too short", p.name, text)
	}
	var ticks [2]int64
	for i := range ticks {
		if ticks[i], err = strconv.ParseInt(fields[11+i], 10, 64); err != nil {
			return 0, 0, fmt.Errorf("CPU time of %s: %w", p.name, err)
		}
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go knows
	return time.Duration(ticks[0]) * tick, time.Duration(ticks[1]) * tick, nil
}

// runTime is what the process has used, in user and system mode together, to the nanosecond: field
// 1 of /proc/<pid>/task/*/schedstat. A thread that ended takes its share along; Go keeps its threads.
func (p *process) runTime() (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, fmt.Errorf("CPU time of %s: %w", p.name, err)
		}
		word, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("CPU time of %s: %w", p.name, err)
		}
		sum += time.Duration(ns)
	}
	if sum == 0 {
		return 0, fmt.Errorf("CPU time of %s: the kernel does not count it in schedstat", p.name)
	}
	return sum, nil
}

// memory returns VmRSS and VmHWM in bytes.
func (p *process) memory() (rss, peak int64, err error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var kib int64
		if n, _ := fmt.Sscanf(lines.Text(), "VmRSS: %d kB", &kib); n == 1 {
			rss = kib << 10
		}
		if n, _ := fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &kib); n == 1 {
			peak = kib << 10
		}
	}
	if rss == 0 || peak == 0 {
		return 0, 0, fmt.Errorf("memory of %s: not in /proc/%d/status", p.name, p.cmd.Process.Pid)
	}
	return rss, peak, nil
}

// anonymous is RssAnon in MiB: heap and stacks, without the pages of the binary.
func (p *process) anonymous() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	for line := range strings.Lines(string(text)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "RssAnon: %f kB", &kib); n == 1 {
			return kib / 1024, nil
		}
	}
	return 0, fmt.Errorf("memory of %s: no RssAnon in /proc/%d/status", p.name, p.cmd.Process.Pid)
}

// freePort is a port that nobody listens at now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// get fetches a page of a child.
func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return body, nil
}

var errTimeout = errors.New("time is up")

// poll calls f until it reports that it is done.
func poll(ctx context.Context, every, limit time.Duration, f func() (bool, error)) error {
	deadline := time.After(limit)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		done, err := f()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return errTimeout
		case <-tick.C:
		}
	}
}
