package tail

import (
	"bytes"
	"fmt"
	"regexp"
)

// grouping says how the lines of a log are put together to records. It is immutable: all logs
// that are read alike share one.
//
// Most lines of a stack trace show what they are ("\tat a.b.C.m(C.java:1)"), whatever stands
// before them: such a line goes on with the record of the line before. The lines of Go and
// Python, and some of Node, are known only by what came before: groupState remembers that. All
// others begin a record, in auto also those that merely are indented.
//
// Loggers write a message and then the exception, whose first line begins at column 0. It
// belongs to the message. An uncaught exception looks the same but follows a line that has
// nothing to do with it. So it is joined only to a line that itself speaks of an error (see
// groupState.reports).
//
// No line says that nothing follows it: the next one may be a frame. Whoever groups holds a
// record until the line after it, or for a time.
//
// Known limits: an exception message of several lines ends the record at its second one, unless
// it is indented and the language is named; lines that threads write into each other's traces.
type grouping struct {
	langs  langs
	strict bool           // auto: indentation alone says nothing
	start  *regexp.Regexp // a line that matches begins a record, all others go on
}

// langs is a set of languages.
type langs uint8

const (
	java langs = 1 << iota
	golang
	python
	node
	dotnet
	ruby
	allLangs langs = 1<<iota - 1
)

// newGrouping makes the grouping of a name; "off" has none. start is the pattern for "start".
func newGrouping(mode, start string) (*grouping, error) {
	switch mode {
	case "off":
		return nil, nil
	case "auto":
		return &grouping{langs: allLangs, strict: true}, nil
	case "java":
		return &grouping{langs: java}, nil
	case "go":
		return &grouping{langs: golang}, nil
	case "python":
		return &grouping{langs: python}, nil
	case "node":
		return &grouping{langs: node}, nil
	case "dotnet":
		return &grouping{langs: dotnet}, nil
	case "ruby":
		return &grouping{langs: ruby}, nil
	case "start":
		if start == "" {
			return nil, fmt.Errorf("start pattern is empty; give the pattern of a record's first line")
		}
		re, err := regexp.Compile(start)
		if err != nil {
			return nil, err
		}
		return &grouping{start: re}, nil
	}
	return nil, fmt.Errorf("%q is none of off, auto, java, go, python, node, dotnet, ruby, start", mode)
}

// phase is what the last line was.
type phase uint8

const (
	fresh      phase = iota // there was none
	ordinary                // no part of a trace as far as is known
	head                    // an exception's line, before its frames
	frames                  // "at", "from", "... 3 more"
	nested                  // "nested exception is:"
	innerEnd                // .NET: an inner exception of several ended
	netLog                  // .NET: a line of its console logger, whose text is indented by six
	props                   // Node: inside the { } after the last frame
	require                 // Node: "Require stack:" and its lines
	nodePlace               // Node: "/app/x.js:10" before an uncaught exception,
	nodeSource              // then the line of source,
	nodeCaret               // then "^^^", maybe blank lines
	nodeTail                // blank line after the frames; Node may then write its version
	goPanic                 // Go: the lines up to the first goroutine
	goStack                 // Go: functions and their places
	goBlank                 // Go: blank line after either
	pyTrace                 // Python: "Traceback" and the frames; Ruby's reversed traces too
	pyGroup                 // Python: an exception group, all of it indented
	pyDone                  // Python: the exception's line at the end
	pyChain                 // Python: "During handling of …" and the blank lines around it
	done                    // a trace is over for certain
)

// groupState is what must be remembered of the lines before, for one stream of one log. The
// zero value is that of a new log.
type groupState struct {
	phase   phase
	colon   bool // prev ended with ':'
	prevLen uint8
	prev    [64]byte // beginning of the last ordinary line: level and logger stand there
}

// reset forgets what was before: the next line begins a record.
func (s *groupState) reset() { s.phase = fresh }

// next says whether line, without its newline, goes on with the record of the line before. It
// must be called for every line in order.
func (g *grouping) next(s *groupState, line []byte) bool {
	if g.start != nil {
		first := s.phase == fresh
		s.phase = ordinary
		return !first && !g.start.Match(line)
	}
	was := s.phase
	if was > ordinary {
		if p := g.within(s, line); p != fresh {
			s.phase = p
			return true
		}
	}
	p, joins := g.shown(s, line)
	if p == ordinary {
		s.prevLen = uint8(copy(s.prev[:], line))
		s.colon = len(line) > 0 && line[len(line)-1] == ':'
	}
	s.phase = p
	return joins && was != fresh
}

// within returns the phase after line, if the phase it meets makes it a part of the trace; else
// fresh.
func (g *grouping) within(s *groupState, line []byte) phase {
	blank := isBlank(line)
	indented := !blank && isSpace(line[0])
	switch s.phase {
	case head, frames:
		switch {
		case blank && s.phase == frames: // java.util.logging ends with one, Node's uncaught ones too
			return nodeTail
		case blank:
		case indented && s.phase == head && !g.strict:
			if p := g.frame(line); p != fresh {
				return p
			}
			return head
		case indented: // frames are known without the phase
		case isCause(line):
			return head
		case hasPrefix(line, "--- End of "): // .NET: "stack trace from previous location"
			return frames
		case hasPrefix(line, "(Use `node --trace-uncaught"):
			return frames
		}
	case nested:
		if indented || !blank && isClass(line, false) {
			return head
		}
	case innerEnd:
		if blank {
			return frames
		}
	case netLog:
		if hasPrefix(line, "      ") {
			return netLog
		}
	case props:
		if indented {
			return props
		}
		if !blank && line[0] == '}' {
			return frames
		}
	case require:
		if hasPrefix(line, "- ") {
			return require
		}
	case nodePlace:
		// Source can be anything. What begins like a log's line is none.
		if !blank && line[0]-'0' > 9 && line[0] != '[' && line[0] != '{' {
			return nodeSource
		}
	case nodeSource:
		if !blank && len(bytes.Trim(line, " \t^~")) == 0 {
			return nodeCaret
		}
	case nodeCaret:
		if blank {
			return nodeCaret
		}
		if endsOpen(line) {
			return props
		}
		return frames
	case nodeTail:
		if hasPrefix(line, "Node.js v") {
			return done
		}
	case goPanic:
		switch {
		case blank:
			return goBlank
		case line[0] == '\t', hasPrefix(line, "[signal "), hasPrefix(line, "PC="), hasPrefix(line, "panic: "),
			hasPrefix(line, "fatal error: "), hasPrefix(line, "runtime: "), hasPrefix(line, "signal arrived during"):
			return goPanic
		case isGoroutine(line):
			return goStack
		case hasPrefix(line, "exit status "):
			return done
		}
	case goBlank, goStack:
		switch {
		case blank && s.phase == goStack:
			return goBlank
		case blank:
		case isGoroutine(line), isRegister(line):
			return goStack
		case hasPrefix(line, "exit status "):
			return done
		case s.phase == goStack && (line[0] == '\t' || isGoCall(line)):
			return goStack
		}
	case pyTrace:
		switch {
		case indented:
			return pyTrace
		case !blank && g.langs&ruby != 0 && bytes.Contains(line, []byte(":in ")):
			return frames
		case !blank && isPythonError(line):
			return pyDone
		}
	case pyGroup:
		if indented {
			return pyGroup
		}
	case pyDone, pyChain:
		switch {
		case blank, hasPrefix(line, "During handling of the above exception"), hasPrefix(line, "The above exception was the direct cause"):
			return pyChain
		case s.phase == pyChain:
			p, _ := isTraceback(line)
			return p
		}
	}
	return fresh
}

// shown returns the phase after line by what it shows itself, and whether it goes on with the
// record before.
func (g *grouping) shown(s *groupState, line []byte) (p phase, joins bool) {
	if len(line) == 0 {
		return ordinary, false
	}
	last := line[len(line)-1]
	if isSpace(line[0]) {
		if p := g.frame(line); p != fresh {
			return p, true
		}
		// A SyntaxError of the main program has no heading.
		if g.langs&python != 0 && last-'0' <= 9 && hasPrefix(line, `  File "`) && endsInLine(line) {
			return pyTrace, false
		}
	}
	if last == ':' {
		if g.langs&(python|ruby) != 0 {
			if p, whole := isTraceback(line); p != fresh {
				return p, whole && s.reports()
			}
		}
		switch {
		case g.langs&java != 0 && bytes.HasSuffix(line, []byte("nested exception is:")):
			return nested, isClass(line, false) && s.reports()
		case g.langs&node != 0 && string(line) == "Require stack:":
			return require, true
		}
	}
	switch c := line[0]; {
	case c == 'g' && g.langs&golang != 0:
		if isGoroutine(line) {
			return goStack, s.reports()
		}
	case (c == 'p' || c == 'f' || c == 'r' || c == 'u' || c == 'S') && g.langs&golang != 0:
		if isGoPanic(line) {
			return goPanic, false
		}
	}
	if g.langs&dotnet != 0 && last == ']' && isNetLog(line) {
		return netLog, false
	}
	if g.langs&ruby != 0 && last == '\'' && (bytes.Contains(line, []byte(":in `")) || bytes.Contains(line, []byte(":in '"))) && isRubyPlace(line) {
		return frames, true
	}
	if g.langs&node != 0 && last-'0' <= 9 && isNodePlace(line) {
		return nodePlace, false
	}
	if g.langs&(java|dotnet) != 0 && isClass(line, g.strict) {
		return head, s.reports()
	}
	return ordinary, false
}

// frame returns the phase after an indented line that is a part of a trace, whatever was before
// it; else fresh.
func (g *grouping) frame(line []byte) phase {
	text := line
	for len(text) > 0 && isSpace(text[0]) {
		text = text[1:]
	}
	if len(text) < 5 {
		return fresh
	}
	switch text[0] {
	case 'a':
		if g.langs&(java|node|dotnet) != 0 && hasPrefix(text, "at ") && (!g.strict || isFrame(text[3:])) {
			if g.langs&node != 0 && endsOpen(text) {
				return props
			}
			return frames
		}
	case '.':
		if hasPrefix(text, "... ") && text[4]-'0' <= 9 && g.langs&(java|node|ruby) != 0 {
			return frames
		}
	case 'C', 'S', 'W', '[':
		if g.langs&java != 0 && isCause(text) {
			return head
		}
	case '-':
		if g.langs&dotnet != 0 {
			switch {
			case hasPrefix(text, "---> "):
				return head
			case hasPrefix(text, "--- End of ") && bytes.HasSuffix(text, []byte("<---")):
				return innerEnd
			case hasPrefix(text, "--- End of "):
				return frames
			}
		}
	default:
		for text[0]-'0' <= 9 && len(text) > 5 { // Ruby's reversed order: "3: from"
			text = text[1:]
		}
		text = bytes.TrimPrefix(text, []byte(": "))
		if g.langs&ruby != 0 && hasPrefix(text, "from ") && (bytes.Contains(text, []byte(":in ")) || endsInLine(text)) {
			return frames
		}
	}
	return fresh
}

// reports says whether the line before is an ordinary one that speaks of an error, so that a
// trace after it is likely its own.
func (s *groupState) reports() bool {
	if s.phase != ordinary {
		return false
	}
	if s.colon {
		return true
	}
	var lower [len(s.prev)]byte
	for i, c := range s.prev[:s.prevLen] {
		if c-'A' <= 'Z'-'A' {
			c |= 0x20
		}
		lower[i] = c
	}
	b := lower[:s.prevLen]
	if len(b) > 2 && (b[0] == 'e' || b[0] == 'w' || b[0] == 'f') && b[1]-'0' <= 1 && b[2]-'0' <= 9 { // klog: "E1122"
		return true
	}
	for _, w := range [...]string{"error", "warn", "exception", "fatal", "fail", "panic", "severe", "critical", "alert"} {
		if bytes.Contains(b, []byte(w)) {
			return true
		}
	}
	return false
}

// isFrame knows the text after "at " of Java, Node and .NET from prose: something in
// parentheses, or a line number at the end.
func isFrame(b []byte) bool {
	if endsOpen(b) {
		b = bytes.TrimRight(b[:len(b)-1], " ")
	}
	if endsInLine(b) && bytes.ContainsAny(b, "/.") || string(b) == "<anonymous>" {
		return true
	}
	open := bytes.IndexByte(b, '(')
	if open <= 0 || bytes.IndexByte(b[open:], ')') < 0 {
		return false
	}
	// "at ten (or so)": a name has a dot, or what stands in parentheses is a place.
	name := bytes.TrimRight(b[:open], " ")
	return bytes.IndexByte(name, '.') > 0 || bytes.ContainsAny(b[open:], ":<") || bytes.IndexByte(name, ' ') < 0 && open == len(name) ||
		bytes.HasSuffix(b, []byte(")")) && hasPrefix(name, "async ")
}

// endsInLine says whether b ends with a number after a colon or the word "line".
func endsInLine(b []byte) bool {
	n := len(b)
	for n > 0 && b[n-1]-'0' <= 9 {
		n--
	}
	return n > 1 && n < len(b) && (b[n-1] == ':' || bytes.HasSuffix(b[:n], []byte("line ")))
}

// endsOpen says whether Node goes on with an error's properties after this line.
func endsOpen(b []byte) bool { return bytes.HasSuffix(b, []byte(" {")) }

func isCause(b []byte) bool {
	return hasPrefix(b, "Caused by: ") || hasPrefix(b, "Suppressed: ") || hasPrefix(b, "Wrapped by: ") || hasPrefix(b, "[CIRCULAR REFERENCE")
}

// isClass says whether b begins with a class name and ends there or goes on with a colon. With
// strict the name must be that of an error.
func isClass(b []byte, strict bool) bool {
	n, dots := 0, 0
	for n < len(b) && (b[n]|0x20)-'a' <= 'z'-'a' || n > 0 && n < len(b) && (b[n]-'0' <= 9 || b[n] == '_' || b[n] == '$' || b[n] == '.' || b[n] == '`' || b[n] == '+') {
		if b[n] == '.' || b[n] == '$' {
			dots++
		}
		n++
	}
	if dots == 0 || b[n-1] == '.' || n < len(b) && b[n] != ':' {
		return false
	}
	if !strict {
		return true
	}
	name := b[:n]
	if bytes.IndexByte(name, '$') > 0 { // a Java class within another
		return true
	}
	return bytes.HasSuffix(name, []byte("Exception")) || bytes.HasSuffix(name, []byte("Error")) || bytes.HasSuffix(name, []byte("Throwable")) || bytes.HasSuffix(name, []byte("Failure"))
}

// isGoroutine knows the heading of a goroutine's stack, "goroutine 1 gp=0xc000 m=0 [running]:",
// and that of the runtime's own.
func isGoroutine(b []byte) bool {
	if hasPrefix(b, "goroutine ") {
		return len(b) > 12 && b[10]-'0' <= 9 && b[len(b)-1] == ':' && bytes.IndexByte(b, '[') > 0
	}
	return string(b) == "runtime stack:"
}

// isGoPanic knows the lines with which the runtime begins to die.
func isGoPanic(b []byte) bool {
	switch b[0] {
	case 'p':
		return hasPrefix(b, "panic: ")
	case 'f':
		return hasPrefix(b, "fatal error: ")
	case 'r':
		return hasPrefix(b, "runtime: goroutine stack exceeds ") || hasPrefix(b, "runtime: out of memory")
	case 'u':
		return hasPrefix(b, "unexpected fault address ")
	}
	return hasPrefix(b, "SIG") && bytes.IndexByte(b, ':') > 5 && bytes.IndexByte(b, ' ') > bytes.IndexByte(b, ':')
}

// isGoCall knows a line of a goroutine's stack that is not a place: "main.f(0x1, ...)".
func isGoCall(b []byte) bool {
	if hasPrefix(b, "created by ") || hasPrefix(b, "...") || hasPrefix(b, "[originating from goroutine ") {
		return true
	}
	open := bytes.IndexByte(b, '(')
	return open > 0 && b[len(b)-1] == ')' && bytes.IndexByte(b[:open], ' ') < 0
}

// isRegister knows a line of the register dump: "rax    0x0", "r10    0x1".
func isRegister(b []byte) bool {
	n := bytes.IndexByte(b, ' ')
	return n >= 2 && n <= 6 && hasPrefix(bytes.TrimLeft(b[n:], " "), "0x") && len(b) < 40
}

var traceback = []byte("Traceback (most recent call last):")

// isTraceback returns the phase that a line with the heading of Python begins, else fresh; whole
// says that nothing but white space or the mark of an exception group stands before it.
func isTraceback(line []byte) (p phase, whole bool) {
	if !bytes.HasSuffix(line, traceback) {
		return fresh, false
	}
	before := bytes.Trim(line[:len(line)-len(traceback)], " \t")
	if bytes.HasSuffix(before, []byte("+ Exception Group")) {
		return pyGroup, len(before) == len("+ Exception Group")
	}
	return pyTrace, len(before) == 0
}

// isPythonError knows the line that ends a traceback: "pkg.SomeError: text" or "SomeError".
func isPythonError(b []byte) bool {
	n := 0
	for n < len(b) && ((b[n]|0x20)-'a' <= 'z'-'a' || b[n]-'0' <= 9 || b[n] == '_' || b[n] == '.' || b[n] == '<' || b[n] == '>' || b[n] >= 0x80) {
		n++
	}
	return n > 0 && b[0]-'0' > 9 && (n == len(b) || b[n] == ':')
}

// isNodePlace knows the place that Node writes before an uncaught exception:
// "node:internal/modules/cjs/loader:1080", "/app/index.js:10", "file:///app/x.mjs:3".
func isNodePlace(b []byte) bool {
	if b[0] != '/' && b[0] != 'n' && b[0] != 'f' && b[0] != '[' || bytes.IndexByte(b, ' ') >= 0 {
		return false
	}
	place := b[:bytes.LastIndexByte(b, ':')+1]
	if len(place) == 0 || !endsInLine(b) {
		return false
	}
	switch b[0] {
	case 'n':
		return hasPrefix(b, "node:")
	case '[':
		return hasPrefix(b, "[eval]:")
	case 'f':
		return hasPrefix(b, "file:///")
	}
	return bytes.HasSuffix(place, []byte("js:")) || bytes.HasSuffix(place, []byte("ts:"))
}

// isNetLog knows the first line of .NET's console logger: "fail: Some.Category[0]".
func isNetLog(b []byte) bool {
	if len(b) < len("info: C[0]") || b[4] != ':' || b[5] != ' ' {
		return false
	}
	switch string(b[:4]) {
	case "trce", "dbug", "info", "warn", "fail", "crit":
		open := bytes.LastIndexByte(b, '[')
		return open > 6 && b[open+1]-'0' <= 9 || open > 6 && b[open+1] == '-'
	}
	return false
}

// isRubyPlace knows a line of a Ruby backtrace at column 0: "app/x.rb:3:in `index'".
func isRubyPlace(b []byte) bool {
	in := bytes.Index(b, []byte(":in "))
	return in > 0 && endsInLine(b[:in]) && bytes.IndexByte(b[:in], ' ') < 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func isBlank(b []byte) bool {
	for _, c := range b {
		if !isSpace(c) {
			return false
		}
	}
	return true
}

func hasPrefix(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }
