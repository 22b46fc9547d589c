package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readBytes = 64 << 10 // a pipe's usual capacity
	pipeBytes = 256 << 10
	// turnBytes and turnTime end a turn: what was gathered is handed on, ordered by unit.
	// journalctl writes 4 KiB at a time, and a chunk of ten records is mostly frame.
	turnBytes = 256 << 10
	turnTime  = 20 * time.Millisecond
)

// args are journalctl's. from is where to begin:
//
//	--cursor shows the cursor's own entry again, which is dropped. When another one comes first,
//	the cursor's is gone and so may be others. --after-cursor can't tell that, and before systemd
//	256 it skips an entry then (github.com/systemd/systemd/issues/30288).
//
//	--since works when the cursor can't be looked for.
//
// Since systemd 250 --follow shows the current boot only, whatever --no-tail, --cursor and
// --since say (systemd#36102), which would lose what was written before a reboot. --merge turns
// that off, but is refused by some releases (systemd#27696), where --boot=all does it.
//
// The fields are not chosen here: with --output-fields journalctl 252 takes twice the time (17
// against 7 µs an entry; --output=json takes 31), which is more than skipping the others costs.
func (f *Follower) args(from position, mode seek) []string {
	a := []string{"--output=export", "--no-pager", "--follow", "--no-tail"}
	if f.noMerge {
		a = append(a, "--boot=all")
	} else {
		a = append(a, "--merge")
	}
	if d := f.cfg.Directory; d != "" {
		a = append(a, "--directory="+d)
	}
	for _, u := range f.cfg.Units {
		a = append(a, "--unit="+u)
	}
	if f.cfg.Priority != "debug" { // the last one: all of them, also entries without any
		a = append(a, "--priority="+f.cfg.Priority)
	}
	switch mode {
	case byCursor:
		a = append(a, "--cursor="+from.cursor)
	case byTime:
		a = append(a, fmt.Sprintf("--since=@%d.%06d", from.time/1e6, from.time%1e6))
	}
	return a
}

// seek is how journalctl is told where to begin.
type seek uint8

const (
	byHead seek = iota // the oldest entry
	byTime
	byCursor
)

// process is a running journalctl.
type process struct {
	out    *os.File // its standard output
	says   *complaints
	pid    int
	exited chan error // what Wait returned
}

// start runs journalctl in a process group of its own.
func (f *Follower) start(path string, args []string) (*process, error) {
	out, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	// Fewer switches between the two; where it is not allowed, the usual size does.
	_, _ = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, pipeBytes)
	p := &process{out: out, says: &complaints{log: f.log, fail: f.fail}, exited: make(chan error, 1)}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = w, p.says
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_COLORS=0")
	cmd.WaitDelay = time.Second // for its standard error, should a wrapper leave a child behind
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	started := make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the thread ends that started the child, not the process:
		// this one must stay (prctl(2), golang.org/issue/27505).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		w.Close()
		if err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		p.exited <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		out.Close()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return p, nil
}

// kill ends the process and whatever it started. Until out is closed its group may outlive it.
func (p *process) kill() { _ = unix.Kill(-p.pid, unix.SIGKILL) }

// complaints takes what journalctl writes to its standard error: the last line is kept, one a
// minute is logged. It may run on after one, e.g. that it sees only a part of the journal.
type complaints struct {
	log  *slog.Logger
	fail func(error)

	mu   sync.Mutex // guards below
	part []byte     // of an unfinished line
	all  string     // the first lines: what is wrong with the arguments stands there
	last string
	said time.Time
	held int
}

const maxComplaint = 1 << 10

func (c *complaints) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for line := range bytes.Lines(b) {
		c.part = append(c.part, line[:min(len(line), maxComplaint-len(c.part))]...)
		if line[len(line)-1] == '\n' {
			c.line(strings.ToValidUTF8(strings.TrimSpace(string(c.part)), "\uFFFD"))
			c.part = c.part[:0]
		}
	}
	return len(b), nil
}

// line needs c.mu.
func (c *complaints) line(s string) {
	if s == "" {
		return
	}
	c.last = s
	c.fail(errors.New("journalctl: " + s))
	if len(c.all) < 4*maxComplaint {
		c.all += s + "\n"
	}
	if time.Since(c.said) < time.Minute {
		c.held++
		return
	}
	c.log.Warn("journalctl says", "text", s, "held_back", c.held)
	c.said, c.held = time.Now(), 0
}

func (c *complaints) contains(s string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Contains(c.all, s)
}

// because adds the last complaint to how the process ended.
func (c *complaints) because(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		err = errors.New("exit status 0")
	}
	if c.last == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, c.last)
}

// follow keeps a journalctl running until ctx ends.
func (f *Follower) follow(ctx context.Context) {
	fruitless := 0 // sessions in a row that brought no new entry
	mode := byCursor
	for ctx.Err() == nil {
		path, err := lookPath(f.cfg.command())
		if err != nil {
			f.fail(err)
			f.log.Error("journalctl can't be run; the journal is not read. Install systemd's journalctl or set journald.journalctl", "err", err, "retry", f.missingRetry.String())
			sleep(ctx, f.missingRetry)
			continue
		}
		began := time.Now()
		s := f.session(ctx, path, mode)
		if ctx.Err() != nil {
			return
		}
		f.fail(s.err)
		if s.entries > 0 {
			mode = byCursor
		}
		switch {
		case s.lost:
			mode = byTime
			continue
		case s.refused:
			f.noMerge = true
			continue
		}
		f.stats.restarts.Add(1)
		if fruitless++; s.entries > 0 || time.Since(began) > time.Minute {
			fruitless = 0
		}
		if fruitless >= 3 {
			mode = byTime // maybe it is what lies at the cursor that journalctl fails on
		}
		wait := min(f.backoff<<min(fruitless, 10), time.Minute)
		wait = wait/2 + rand.N(wait)/2
		f.log.Warn("journalctl ended; it is started again where reading came to", "err", s.err, "retry", wait.Round(time.Millisecond).String())
		sleep(ctx, wait)
	}
}

// lookPath is exec.LookPath with an error that names what was looked for.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s: not in PATH %q", name, os.Getenv("PATH"))
	}
	return path, err
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// session is one run of journalctl.
type session struct {
	f       *Follower
	proc    *process
	from    position
	mode    seek
	seen    bool        // an entry came
	patient *time.Timer // until one must have come
	deaf    bool        // none came
	entries int         // new ones

	err     error
	lost    bool // the cursor's entry was not found: go on by time
	refused bool // --merge was
}

// session runs journalctl from the position that reading came to, until it ends or ctx does.
func (f *Follower) session(ctx context.Context, path string, mode seek) *session {
	if f.moved { // what was gathered before a panic
		if err := f.flush(ctx); err != nil {
			return &session{err: err}
		}
	}
	s := &session{f: f, from: f.read, mode: mode}
	now := uint64(time.Now().UnixMicro())
	if s.from.cursor == "" && s.mode == byCursor {
		s.mode = byTime
	}
	if s.mode == byTime && s.from.time > now { // the clock was set back
		if s.from.time = now; s.from.cursor != "" {
			s.from.time = 0
		}
	}
	if s.mode == byTime && s.from.time == 0 {
		s.mode = byHead
	}
	f.parser.restart()
	if s.proc, s.err = f.start(path, f.args(s.from, s.mode)); s.err != nil {
		return s
	}
	stop := context.AfterFunc(ctx, s.proc.kill)
	if s.mode == byCursor {
		// A cursor of the future or of another journal may match nothing at all.
		s.patient = time.AfterFunc(f.patience, s.proc.kill)
	}
	err := s.fenced(ctx)
	stop()
	if s.patient != nil {
		s.deaf = !s.patient.Stop() && !s.seen
	}
	s.proc.kill()
	s.proc.out.Close()
	exit := <-s.proc.exited
	if err == nil {
		err = s.proc.says.because(exit)
	}
	s.err = err
	if s.mode == byCursor && !s.seen && (s.deaf || s.proc.says.contains("Failed to seek to cursor")) {
		if s.lost = true; s.from.filter == f.filter {
			f.lose("journalctl doesn't find the entry that was read last; reading goes on by its time, entries may be missing")
		}
	}
	s.refused = !f.noMerge && !s.seen && s.proc.says.contains("with --merge")
	return s
}

// fenced reads; a panic costs the entry that it struck, not the process.
func (s *session) fenced(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.f.stats.panics.Add(1)
			s.f.log.Error("reading the journal panicked; it goes on after this entry", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return s.read(ctx)
}

// read takes entries off journalctl's output until it ends.
func (s *session) read(ctx context.Context) error {
	f := s.f
	due := false // a deadline is set: something was gathered
	for {
		f.waiting.Store(time.Now().UnixNano())
		n, err := s.proc.out.Read(f.buf)
		f.waiting.Store(0)
		f.stats.bytes.Add(int64(n))
		late := errors.Is(err, os.ErrDeadlineExceeded)
		if n > 0 {
			s.take(f.buf[:n])
		}
		if bad := f.parser.malformed; bad > 0 {
			f.parser.malformed = 0
			f.stats.malformed.Add(bad)
			f.log.Warn("journalctl wrote something that is no entry; it is skipped", "entries", bad)
		}
		if f.moved && (err != nil || len(f.enc.data) >= turnBytes) {
			if flushed := f.flush(ctx); flushed != nil {
				return flushed
			}
		}
		if err != nil && !late {
			return nil // why it ended, its exit tells
		}
		if f.moved != due {
			deadline := time.Time{}
			if due = f.moved; due {
				deadline = time.Now().Add(turnTime)
			}
			if err := s.proc.out.SetReadDeadline(deadline); err != nil {
				return fmt.Errorf("read journalctl: %w", err)
			}
		}
	}
}

// take parses what was read.
func (s *session) take(data []byte) {
	f := s.f
	observed := uint64(time.Now().UnixNano())
	for {
		rest, ok := f.parser.next(data)
		if !ok {
			return
		}
		data = rest
		e := &f.parser.entry
		cursor := e.get(fieldCursor)
		if !s.seen {
			s.seen = true
			if s.patient != nil {
				s.patient.Stop()
			}
			if sameEntry(s.from.cursor, cursor) {
				continue
			}
			if s.mode == byCursor && s.from.filter == f.filter {
				f.lose("the journal no longer holds the entry that was read last; entries may be missing")
			}
		}
		s.entries++
		// Before the entry is looked into: one that makes us panic is not met again.
		f.cursor = append(f.cursor[:0], cursor...)
		f.at = micros(e.get(fieldRealtime))
		f.moved = true
		f.newest.Store(int64(f.at))
		record, cut := f.enc.add(e, observed)
		if !record {
			f.stats.excluded.Add(1)
		}
		if cut {
			f.stats.truncated.Add(1)
		}
	}
}

// sameEntry compares cursors (s=file's ID;i=number;b=boot;m=monotonic;t=time;x=hash). An entry
// may lie in two files.
func sameEntry(a string, b []byte) bool {
	if a == "" || a == string(b) {
		return a != ""
	}
	i, j := strings.Index(a, ";b="), bytes.Index(b, []byte(";b="))
	return i >= 0 && j >= 0 && a[i:] == string(b[j:])
}

// lose counts and says a possible gap.
func (f *Follower) lose(what string) {
	f.stats.lost.Add(1)
	at := time.UnixMicro(int64(f.read.time)).UTC().Format(time.RFC3339)
	f.log.Warn("entries of the journal may be missing", "because", what, "cursor", strconv.Quote(f.read.cursor), "time", at)
}
