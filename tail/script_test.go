package tail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"stint/export/otlp"
)

// TestCases runs the scripts testdata/cases/*.txtar: a comment that says what is correct, then
// sections "-- name --":
//
//	script        commands, one a line; # begins a comment
//	want          the records that arrive, in their order
//	want p/0      those of pod p, restart 0 (or of a plain file) alone
//	want in any order
//	status        conditions that hold at the end
//	config        settings of tail, YAML; globs begin at the case's own directory
//	anything else text that the script writes
//
// A file is named POD/NAME, in the directory of the pod's container, or /PATH, in the case's own
// directory, where pods/ and state/ lie. TEXT is made of sections, Go strings "a\xff", ranges 1..50
// (lines "line 1" to "line 50" of stdout), each with *N for N times.
//
//	write FILE TEXT       append             make FILE TEXT     write anew into the same inode
//	poke FILE N TEXT      overwrite there    truncate FILE N    -N: N bytes before the end
//	copy FILE TO          content            rename FILE TO     symlink TARGET FILE
//	gzip FILE             as the kubelet     rm FILE            whatever it is
//	chmod MODE FILE                          fifo FILE
//	chtimes FILE D        changed that long from now
//
//	start, stop, kill     kill: nothing is saved       saved     wait until everything is
//	hold, release         keep chunks unanswered, deliver all
//	settle OUTCOME I...   delivered or dropped: chunks by their places among the held ones
//	wait N                until N records came in all  looked    until all logs were looked at
//	until FIELD OP N      until a condition holds      opened FILE
//	freeze, thaw          nobody looks meanwhile       reckon    look for logs that vanished
//	overflow              of the queue of events       glob      expand globs now
//	each A..B COMMAND     for each number in place of $
//	rig KEY=VALUE...      look, age (time), room, open (number): see rig
//	namespace root|user   the case runs in a user namespace of its own; user: without privileges
//	sysctl NAME N, tmpfs DIR SIZE    in a namespace
//
// FIELD is one of Status's JSON, lost_bytes.REASON, lost_lines.REASON, entries (saved ones), or a
// Go string: how often the log says it.
//
// A wanted record is STREAM(FLAGS) BODY: the stream stdout, stderr or -; in the parentheses, which
// may be left out, truncated and time=RFC3339 (or time=none); *N after them for N such records; the
// body as it stands, or TEXT if it begins with a quote. A..B stands for the lines of the range,
// each A..B RECORD for one with each number in place of $.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			runCase(t, string(text))
		})
	}
}

// caseScript is one case while it runs.
type caseScript struct {
	*rig
	dir      string
	began    time.Time
	sections map[string]string
	log      logged
}

// logged keeps what was logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), s)
}

var sectionLine = regexp.MustCompile(`(?m)^-- (.+) --\n`)

// splitCase takes a txtar file apart (golang.org/x/tools/txtar).
func splitCase(text string) map[string]string {
	sections := map[string]string{}
	at := sectionLine.FindAllStringSubmatchIndex(text, -1)
	for i, m := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		sections[text[m[2]:m[3]]] = text[m[1]:end]
	}
	return sections
}

func runCase(t *testing.T, text string) {
	s := &caseScript{rig: newRig(t), dir: t.TempDir(), began: time.Now(), sections: splitCase(text)}
	s.root, s.state = filepath.Join(s.dir, "pods"), filepath.Join(s.dir, "state")
	s.cfg.Containers.Root = s.root
	s.look, s.said = 20*time.Millisecond, &s.log
	if config := s.sections["config"]; config != "" {
		if err := yaml.Unmarshal([]byte(config), &s.cfg); err != nil {
			t.Fatal(err)
		}
		for _, f := range s.cfg.Files {
			for _, globs := range [][]string{f.Include, f.Exclude} {
				for i := range globs {
					globs[i] = s.dir + globs[i]
				}
			}
		}
		if err := s.cfg.Check(); err != nil {
			t.Fatal(err)
		}
	}
	for i, line := range strings.Split(s.sections["script"], "\n") {
		if line, _, _ = strings.Cut(" "+line, " # "); strings.TrimSpace(line) == "" {
			continue
		}
		if words := splitWords(line); words[0] == "namespace" {
			if os.Getenv(inNamespace) == "" {
				ownNamespace(t, words[1] == "root")
				return
			}
			continue
		}
		if !s.do(line) {
			t.Fatalf("script line %d: %s", i+1, line)
		}
	}
	s.finish()
}

// finish compares what came with what was wanted, when nothing more comes.
func (s *caseScript) finish() {
	t := s.t
	wants, total := map[string][]wanted{}, 0
	for name, text := range s.sections {
		if name == "want" || strings.HasPrefix(name, "want ") {
			w := s.wanted(text)
			wants[strings.TrimPrefix(name, "want ")] = w
			total += len(w)
		}
	}
	if all, ok := wants[anyOrder]; ok {
		total = len(all)
	}
	s.wait(total)
	if s.stop != nil {
		if s.look < time.Minute {
			s.looked()
		}
		if !s.hold && !strings.Contains(s.sections["status"], "unsettled_bytes") {
			s.until("all is settled", func(st Status) bool { return st.Unsettled == 0 && st.InFlight == 0 })
		}
	}
	s.wait(total) // no more came
	if s.stop != nil {
		for line := range strings.Lines(s.sections["status"]) {
			holds, have := s.condition(splitWords(line))
			if !holds(s.tailer.Status()) {
				t.Errorf("status: %s, but it is %v", strings.TrimSpace(line), have(s.tailer.Status()))
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(wants)) {
		var have []got
		for _, g := range s.got {
			if name == "want" || name == anyOrder || name == s.source(g) {
				have = append(have, g)
			}
		}
		if name == anyOrder {
			slices.SortFunc(have, func(a, b got) int { return strings.Compare(a.body, b.body) })
			slices.SortFunc(wants[name], func(a, b wanted) int { return strings.Compare(a.body, b.body) })
		}
		for i, w := range wants[name] {
			if i >= len(have) {
				t.Errorf("%s: %d records, want %d", name, len(have), len(wants[name]))
				break
			}
			if g := have[i]; !w.is(g) {
				t.Errorf("%s: record %d is %v\nwant %v", name, i+1, wanted{g.stream, g.body, g.truncated, stamped(g.time)}, w)
				break
			}
		}
	}
	for _, g := range s.got {
		if o := time.Unix(0, int64(g.observed)); o.Before(s.began) || o.After(time.Now()) {
			t.Errorf("%q is observed at %v, which is not when it was read", g.body, o)
		}
	}
}

const anyOrder = "in any order"

// source is what a section "want" calls the log that g is of.
func (s *caseScript) source(g got) string {
	if g.file != "" {
		return strings.TrimPrefix(g.file, s.dir)
	}
	p := strings.Split(g.pod, "/")
	return p[1] + "/" + p[3]
}

// wanted is one expected record.
type wanted struct {
	stream, body string
	truncated    bool
	time         string // "": any
}

func (w wanted) is(g got) bool {
	return g.body == w.body && g.stream == w.stream && g.truncated == w.truncated && (w.time == "" || w.time == stamped(g.time))
}

func (w wanted) String() string {
	return fmt.Sprintf("%s(truncated=%v time=%s) %.200q", w.stream, w.truncated, w.time, w.body)
}

func stamped(ns uint64) string {
	if ns == 0 {
		return "none"
	}
	return time.Unix(0, int64(ns)).UTC().Format(time.RFC3339Nano)
}

var (
	rangeTerm  = regexp.MustCompile(`^(\d+)\.\.(\d+)$`)
	timesTerm  = regexp.MustCompile(`^(.+)\*(\d+)$`)
	recordLine = regexp.MustCompile(`^(stdout|stderr|-)(?:\(([^)]*)\))?(?:\*(\d+))?(?: (.*))?$`)
)

func (s *caseScript) wanted(text string) (all []wanted) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if words := splitWords(line); words[0] == "each" {
			_, record, _ := strings.Cut(line, words[1]+" ")
			from, to, _ := numberRange(words[1])
			for i := from; i <= to; i++ {
				all = append(all, s.wanted(strings.ReplaceAll(record, "$", strconv.Itoa(i)))...)
			}
			continue
		}
		if a, b, ok := numberRange(line); ok {
			for i := a; i <= b; i++ {
				all = append(all, wanted{stream: "stdout", body: fmt.Sprintf("line %d", i)})
			}
			continue
		}
		m := recordLine.FindStringSubmatch(line)
		if m == nil {
			s.t.Fatalf("want: %q is no record", line)
		}
		w := wanted{stream: strings.TrimPrefix(m[1], "-"), body: m[4]}
		for flag := range strings.FieldsSeq(m[2]) {
			if flag == "truncated" {
				w.truncated = true
			} else {
				w.time = strings.TrimPrefix(flag, "time=")
			}
		}
		if strings.HasPrefix(w.body, `"`) {
			w.body = s.text(splitWords(w.body))
		}
		times := 1
		if m[3] != "" {
			times = s.number(m[3])
		}
		all = append(all, slices.Repeat([]wanted{w}, times)...)
	}
	return all
}

func numberRange(term string) (a, b int, ok bool) {
	m := rangeTerm.FindStringSubmatch(term)
	if m == nil {
		return 0, 0, false
	}
	a, _ = strconv.Atoi(m[1])
	b, _ = strconv.Atoi(m[2])
	return a, b, true
}

// splitWords splits at white space, but not inside of a Go string.
func splitWords(line string) (words []string) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		quoted, _ := strconv.QuotedPrefix(line)
		n := len(quoted)
		if i := strings.IndexAny(line[n:], " \t"); i >= 0 {
			n += i
		} else {
			n = len(line)
		}
		words = append(words, line[:n])
		line = line[n:]
	}
	return words
}

// text is what TEXT in a script stands for.
func (s *caseScript) text(terms []string) string {
	var b strings.Builder
	for _, term := range terms {
		times := 1
		if m := timesTerm.FindStringSubmatch(term); m != nil {
			term = m[1]
			times = s.number(m[2])
		}
		content, known := s.sections[term]
		if from, to, ok := numberRange(term); ok {
			content, _ = full(from, to)
		} else if term[0] == '"' {
			var err error
			if content, err = strconv.Unquote(term); err != nil {
				s.t.Fatalf("%s: %v", term, err)
			}
		} else if !known {
			s.t.Fatalf("no section %q", term)
		}
		b.WriteString(strings.Repeat(content, times))
	}
	return b.String()
}

func (s *caseScript) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// path is where a file of the script lies; its directory is made.
func (s *caseScript) path(name string) string {
	if !strings.HasPrefix(name, "/") {
		pod, file, _ := strings.Cut(name, "/")
		return s.rig.log(pod, file)
	}
	path := filepath.Join(s.dir, name)
	s.must(os.MkdirAll(filepath.Dir(path), 0o755))
	return path
}

func (s *caseScript) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// offset is N, or with -N that far before the end of the file.
func (s *caseScript) offset(path, text string) int64 {
	n := int64(s.number(text))
	if n < 0 {
		st, err := os.Stat(path)
		s.must(err)
		n += st.Size()
	}
	return n
}

// do runs one command; false means that there is no such command.
func (s *caseScript) do(line string) bool {
	words := splitWords(line)
	args := words[1:]
	path := func(i int) string { return s.path(args[i]) }
	switch words[0] {
	case "write":
		s.write(path(0), s.text(args[1:]))
	case "make":
		s.must(os.WriteFile(path(0), []byte(s.text(args[1:])), 0o644))
	case "poke":
		f, err := os.OpenFile(path(0), os.O_WRONLY, 0)
		s.must(err)
		_, err = f.WriteAt([]byte(s.text(args[2:])), s.offset(path(0), args[1]))
		s.must(errors.Join(err, f.Close()))
	case "truncate":
		s.must(os.Truncate(path(0), s.offset(path(0), args[1])))
	case "copy":
		content, err := os.ReadFile(path(0))
		s.must(err)
		s.must(os.WriteFile(path(1), content, 0o644))
	case "rename":
		s.rename(path(0), path(1))
	case "symlink":
		s.must(os.Symlink(path(0), path(1)))
	case "fifo":
		s.must(unix.Mkfifo(path(0), 0o644))
	case "gzip":
		s.gzip(path(0))
	case "rm":
		s.must(os.RemoveAll(path(0)))
	case "chmod":
		mode, err := strconv.ParseUint(args[0], 8, 32)
		s.must(err)
		s.must(os.Chmod(path(1), os.FileMode(mode)))
	case "chtimes":
		ago, err := time.ParseDuration(args[1])
		s.must(err)
		at := time.Now().Add(ago)
		s.must(os.Chtimes(path(0), at, at))

	case "start":
		s.start()
	case "stop":
		s.end()
	case "kill":
		s.kill()
	case "saved":
		s.until("all is saved", func(Status) bool { return s.savedAll() })
	case "hold":
		s.mu.Lock()
		s.hold = true
		s.mu.Unlock()
	case "release":
		s.release()
	case "settle":
		outcome := map[string]otlp.Outcome{"delivered": otlp.Delivered, "dropped": otlp.Dropped}[args[0]]
		var which []int
		for _, a := range args[1:] {
			which = append(which, s.number(a))
		}
		s.settle(outcome, which...)
	case "wait":
		s.wait(s.number(args[0]))
	case "looked":
		s.looked()
	case "until":
		holds, _ := s.condition(args)
		s.until(line, holds)
	case "opened":
		s.opened(path(0))
	case "freeze":
		s.freeze()
	case "thaw":
		s.tailer.mu.Unlock()
	case "reckon":
		s.tailer.mu.Lock()
		s.tailer.scan.reckon(time.Now().Add(reckonAfter))
		s.tailer.mu.Unlock()
	case "glob":
		s.tailer.mu.Lock()
		s.tailer.scan.lastGlob = time.Time{}
		s.tailer.mu.Unlock()
	case "overflow":
		s.tailer.scan.watch.Errors <- fsnotify.ErrEventOverflow

	case "each":
		from, to, _ := numberRange(args[0])
		_, command, _ := strings.Cut(line, args[0])
		for i := from; i <= to; i++ {
			if !s.do(strings.ReplaceAll(command, "$", strconv.Itoa(i))) {
				return false
			}
		}
	case "rig":
		for _, a := range args {
			key, value, _ := strings.Cut(a, "=")
			d, _ := time.ParseDuration(value)
			n, _ := strconv.Atoi(value)
			switch key {
			case "look":
				s.look = d
			case "age":
				s.age = d
			case "room":
				s.room = int64(n)
			case "open":
				s.open = n
			default:
				return false
			}
		}
	case "sysctl":
		s.must(os.WriteFile("/proc/sys/"+args[0], []byte(args[1]), 0))
	case "tmpfs":
		s.must(os.MkdirAll(path(0), 0o755))
		s.must(unix.Mount("tmpfs", path(0), "tmpfs", 0, "size="+args[1]))
		s.t.Cleanup(func() { unix.Unmount(path(0), unix.MNT_DETACH) })
	default:
		return false
	}
	return true
}

// looked waits for a look at all logs that began after now, and for the end of the reading that
// followed.
func (s *caseScript) looked() {
	s.t.Helper()
	for range 2 { // the first may have begun before
		from := time.Now()
		s.until("all was looked at", func(Status) bool { return s.tailer.LastLook().After(from) })
	}
	if !s.hold { // else memory may be used up
		s.until("nobody reads", func(Status) bool { return s.idle() })
	}
}

// freeze keeps the tailer from looking, while nobody reads.
func (s *caseScript) freeze() {
	s.until("nobody reads", func(Status) bool {
		s.tailer.mu.Lock()
		for _, c := range s.tailer.chains {
			c.mu.Lock()
			state := c.run
			c.mu.Unlock()
			if state != idle {
				s.tailer.mu.Unlock()
				return false
			}
		}
		return true
	})
}

// condition is FIELD OP N and the value that it has now.
func (s *caseScript) condition(words []string) (holds func(Status) bool, value func(Status) any) {
	if len(words) != 3 {
		s.t.Fatalf("%q is not FIELD OP N", words)
	}
	want, err := strconv.ParseFloat(words[2], 64)
	s.must(err)
	value = func(st Status) any { return s.field(st, words[0]) }
	return func(st Status) bool {
		switch have := s.field(st, words[0]); words[1] {
		case "==":
			return have == want
		case ">=":
			return have >= want
		case "<=":
			return have <= want
		}
		s.t.Fatalf("%q is none of == >= <=", words[1])
		return false
	}, value
}

func (s *caseScript) field(st Status, name string) float64 {
	if text, err := strconv.Unquote(name); err == nil {
		return float64(s.log.count(text))
	}
	if name == "entries" {
		s.tailer.mu.Lock()
		defer s.tailer.mu.Unlock()
		return float64(len(s.tailer.store.entries))
	}
	if what, reason, ok := strings.Cut(name, "."); ok {
		for _, l := range st.Lost {
			if l.Reason == reason && what == "lost_lines" {
				return float64(l.Lines)
			} else if l.Reason == reason {
				return float64(l.Bytes)
			}
		}
		return 0
	}
	var fields map[string]any
	b, err := json.Marshal(st)
	s.must(errors.Join(err, json.Unmarshal(b, &fields)))
	switch v := fields[name].(type) {
	case float64:
		return v
	case bool:
		if v {
			return 1
		}
		return 0
	case string: // an error's text: whether there is one
		return 1
	case nil:
		if name != "offsets_error" {
			s.t.Fatalf("status has no field %q", name)
		}
	}
	return 0
}

// inNamespace is set in the process that runs a case in a user namespace.
const inNamespace = "STINT_CASE_IN_NAMESPACE"

// ownNamespace runs the case in another process, as root of a user namespace or as a mere user
// there. Limits of inotify, mounts and a lack of privileges then bear on this case alone.
func ownNamespace(t *testing.T, root bool) {
	id := 1000
	if root {
		id = 0
	}
	mapped := func(host int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: id, HostID: host, Size: 1}}
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestCases$/^"+filepath.Base(t.Name())+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: mapped(os.Geteuid()), GidMappings: mapped(os.Getegid()),
	}
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &failed):
		t.Skipf("no user namespace can be had: %v", err)
	case err != nil:
		t.Errorf("in a namespace: %v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")) || !bytes.Contains(out, []byte("--- PASS: "+t.Name())):
		t.Errorf("did not run:\n%s", out)
	}
}
