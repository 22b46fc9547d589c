package kubelet

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	windowBytes = 32 << 10 // of the answer that are held at a time
	lookahead   = 128      // bytes of the window that the fast paths look at
	maxDepth    = 64       // of nesting; a summary has 7
	maxName     = 1 << 10  // bytes of a text that is kept; names of Kubernetes have 253
	maxDigits   = 40       // characters of a number that is kept
	maxElements = 256      // of a list that is kept: containers, volumes, interfaces
)

// shape says what is wanted of a JSON object. What it has no rule for is checked and skipped.
type shape []rule

// rule is what becomes of a value in an object. Rules stand in the order in which the kubelet
// writes keys: the one that is expected next is compared first, so that a key costs a compare.
type rule struct {
	key  string // with quotes
	kind ruleKind
	slot int   // field, text or list, by kind
	sub  shape // of objects and elements
}

type ruleKind uint8

const (
	unwanted ruleKind = iota // here to be found fast
	number                   // a whole number under 2^62: more is an underflow of the kubelet
	decimal                  // kept as the bits of a float64
	instant                  // in ns since 1970
	text
	object
	elements // a list of objects, each with a sample of its own
)

// decoder reads JSON in one pass through a window. It accepts what [encoding/json.Valid] does, up
// to maxDepth, except that no object may have a wanted key twice. A value of another type than the
// wanted one is as good as absent.
type decoder struct {
	r      io.Reader
	buf    []byte
	pos    int   // of the next byte in the window
	end    int   // of the window's bytes
	before int64 // bytes of the answer that have left the window
	ended  error // of r: io.EOF, or why it could not be read

	path  [maxDepth]step // where the reading is
	depth int
	err   error
	texts []byte // what was kept of texts; the samples point into it
	token []byte // a number or a string that does not take the fast path

	date string // the day read last, YYYY-MM-DD
	day  int64  // and its begin, in seconds since 1970

	sample *sample    // that values go to
	lists  [][]sample // that elements go to, by list
	begin  func(list int)
	done   func(list int) // an element of a list, or an object that has a slot, is complete
	left   int            // elements that were not kept
}

// step is a part of a path: the key of a rule, or an index where there is none.
type step struct {
	rule  *rule
	index int
}

// otherKey stands in a path for a key that there is no rule for.
var otherKey = rule{key: `"another key"`}

func (r *rule) name() string { return r.key[1 : len(r.key)-1] }

// reset begins to read another answer.
func (d *decoder) reset(r io.Reader) {
	if d.buf == nil {
		d.buf = make([]byte, windowBytes)
	}
	d.r, d.pos, d.end, d.before, d.ended = r, 0, 0, 0, nil
	d.depth, d.err, d.texts = 0, nil, d.texts[:0]
	d.left = 0
}

// fill moves the window on, until there are n bytes in it or the answer has ended. false: there
// are fewer.
func (d *decoder) fill(n int) bool {
	if d.ended == nil {
		d.before += int64(d.pos)
		d.end = copy(d.buf, d.buf[d.pos:d.end])
		d.pos = 0
		for empty := 0; d.end < n && d.ended == nil; {
			got, err := d.r.Read(d.buf[d.end:])
			d.end += got
			if d.ended = err; got == 0 && err == nil {
				if empty++; empty > 100 {
					d.ended = io.ErrNoProgress
				}
			}
		}
	}
	return d.end-d.pos >= n
}

// peek is the next byte that is not blank, 0 at the end. It is not consumed.
func (d *decoder) peek() byte {
	for {
		for d.pos < d.end {
			switch c := d.buf[d.pos]; c {
			case ' ', '\t', '\n', '\r':
				d.pos++
			default:
				return c
			}
		}
		if !d.fill(1) {
			return 0
		}
	}
}

// blanks skips those in the window. The kubelet indents what it writes.
func (d *decoder) blanks() {
	b := d.buf[:d.end]
	i := d.pos
	for i < len(b) && (b[i] == ' ' || b[i] == '\n') {
		i++
	}
	d.pos = i
}

// byte is the next byte, 0 at the end. It is not consumed.
func (d *decoder) byte() byte {
	if d.pos < d.end || d.fill(1) {
		return d.buf[d.pos]
	}
	return 0
}

// fail ends the reading with an error that tells the place.
func (d *decoder) fail(want string) bool {
	if d.err != nil {
		return false
	}
	where := ""
	for _, s := range d.path[:min(d.depth, maxDepth)] {
		switch {
		case s.rule == nil:
			where += "[" + strconv.Itoa(s.index) + "]"
		case where == "":
			where = s.rule.name()
		default:
			where += "." + s.rule.name()
		}
	}
	if where == "" {
		where = "the summary"
	}
	found := "it ends"
	if d.pos < d.end {
		found = fmt.Sprintf("found %q", d.buf[d.pos])
	} else if d.ended != nil && d.ended != io.EOF {
		found = "it breaks off"
	}
	d.err = fmt.Errorf("byte %d, in %s: %s, want %s", d.before+int64(d.pos), where, found, want)
	if d.ended != nil && d.ended != io.EOF {
		d.err = fmt.Errorf("%w: %w", d.err, d.ended)
	}
	return false
}

// enter begins a value. The key of an unwanted one is not told.
func (d *decoder) enter(s step) bool {
	if d.depth == maxDepth {
		return d.fail(fmt.Sprintf("no more than %d levels", maxDepth))
	}
	d.path[d.depth] = s
	d.depth++
	return true
}

// whole reads an answer, which must be one object.
func (d *decoder) whole(sh shape) error {
	if d.peek() != '{' {
		d.fail("an object")
		return d.err
	}
	if d.object(sh) {
		if d.peek(); d.pos < d.end || d.ended != io.EOF {
			d.fail("nothing more")
		}
	}
	return d.err
}

// object reads an object whose brace is the next byte.
func (d *decoder) object(sh shape) bool {
	d.pos++
	expected := 0
	var seen uint64
	for first := true; ; first = false {
		if d.end-d.pos < lookahead {
			d.fill(lookahead)
		}
		d.blanks()
		at := -1
		for i := expected; i < len(sh); i++ {
			if k := sh[i].key; len(k) <= d.end-d.pos && string(d.buf[d.pos:d.pos+len(k)]) == k {
				at = i
				d.pos += len(k)
				break
			}
		}
		if at >= 0 && !d.colon() {
			return false
		}
		if at < 0 {
			if first && d.peek() == '}' {
				d.pos++
				return true
			}
			var ok bool
			if at, ok = d.anyKey(sh); !ok {
				return false
			}
		}
		if at < 0 {
			if !d.enter(step{rule: &otherKey}) || !d.skip() {
				return false
			}
		} else {
			r := &sh[at]
			if seen&(1<<at) != 0 {
				return d.fail("no key twice, as " + r.name())
			}
			seen |= 1 << at
			expected = at + 1
			if !d.enter(step{rule: r}) || !d.value(r) {
				return false
			}
		}
		d.depth--
		d.blanks()
		c := byte(0)
		if d.pos < d.end {
			c = d.buf[d.pos]
		}
		if c != ',' && c != '}' {
			c = d.peek()
		}
		switch c {
		case ',':
			d.pos++
		case '}':
			d.pos++
			return true
		default:
			return d.fail("a comma or the end of the object")
		}
	}
}

// anyKey reads a key and its colon, and finds its rule; -1: there is none.
func (d *decoder) anyKey(sh shape) (at int, ok bool) {
	if d.peek() != '"' {
		return 0, d.fail("a key")
	}
	if !d.str(true) {
		return 0, false
	}
	at = -1
	for i := range sh {
		if sh[i].name() == string(d.token) {
			at = i
		}
	}
	return at, d.colon()
}

// colon reads a colon and the blanks behind it.
func (d *decoder) colon() bool {
	if d.pos == d.end || d.buf[d.pos] != ':' {
		if d.peek() != ':' {
			return d.fail("a colon")
		}
	}
	d.pos++
	d.blanks()
	return true
}

func (d *decoder) value(r *rule) bool {
	switch r.kind {
	case number:
		return d.number(r.slot)
	case instant:
		return d.instant(r.slot)
	case decimal:
		return d.decimal(r.slot)
	}
	switch c := d.peek(); {
	case r.kind == text && c == '"':
		if !d.str(true) {
			return false
		}
		n := len(d.texts)
		if len(d.token) <= maxName {
			d.texts = append(d.texts, d.token...)
		}
		d.sample.text[r.slot] = d.texts[n:len(d.texts):len(d.texts)]
		return true
	case r.kind == object && c == '{':
		if r.slot != 0 {
			d.begin(r.slot)
		}
		if !d.object(r.sub) {
			return false
		}
		if r.slot != 0 {
			d.done(r.slot)
		}
		return true
	case r.kind == elements && c == '[':
		return d.elements(r)
	}
	return d.skip()
}

// elements reads a list whose bracket is the next byte. The objects in it are kept, up to
// maxElements, or told one by one where the list has no place.
func (d *decoder) elements(r *rule) bool {
	outer := d.sample
	told := d.lists[r.slot] == nil
	ok := d.list(func() bool {
		switch n := len(d.lists[r.slot]); {
		case d.peek() != '{':
			return d.skip()
		case !told && n == maxElements:
			d.left++
			return d.skip()
		case told:
			d.begin(r.slot)
		default:
			l := d.lists[r.slot][:n]
			if n < cap(l) {
				l = l[:n+1]
			} else {
				l = append(l, sample{})
			}
			d.sample = &l[n]
			d.sample.clear()
			d.lists[r.slot] = l
		}
		if !d.object(r.sub) {
			return false
		}
		if told {
			d.done(r.slot)
		}
		return true
	})
	d.sample = outer
	return ok
}

// list reads a list whose bracket is the next byte.
func (d *decoder) list(element func() bool) bool {
	d.pos++
	if d.peek() == ']' {
		d.pos++
		return true
	}
	for i := 0; ; i++ {
		if !d.enter(step{index: i}) || !element() {
			return false
		}
		d.depth--
		switch d.peek() {
		case ',':
			d.pos++
		case ']':
			d.pos++
			return true
		default:
			return d.fail("a comma or the end of the list")
		}
	}
}

// ends tells whether a number may end before c; there are other ends, which the fast paths leave out.
func ends(c byte) bool { return c == ',' || c == '\n' || c == '}' }

// number keeps a whole number under 2^62.
func (d *decoder) number(f int) bool {
	b := d.buf[d.pos:d.end]
	var v uint64
	i := 0
	for i < len(b) && i < 20 && b[i]-'0' <= 9 {
		v = v*10 + uint64(b[i]-'0')
		i++
	}
	if i == 0 || i == 20 || i == len(b) || i > 1 && b[0] == '0' || !ends(b[i]) {
		there, whole, ok := d.anyNumber()
		if !there || !whole {
			return ok
		}
		var err error
		if v, err = strconv.ParseUint(string(d.token), 10, 64); err != nil {
			return true
		}
	} else {
		d.pos += i
	}
	if v < 1<<62 {
		d.sample.set(f, v)
	}
	return true
}

// decimal keeps a number that is not negative.
func (d *decoder) decimal(f int) bool {
	b := d.buf[d.pos:d.end]
	var v uint64
	i, scale := 0, 1.0
	for i < len(b) && i < 16 && b[i]-'0' <= 9 {
		v = v*10 + uint64(b[i]-'0')
		i++
	}
	if i > 0 && i+1 < len(b) && b[i] == '.' && b[i+1]-'0' <= 9 {
		for i++; i < len(b) && i < 16 && b[i]-'0' <= 9; i++ {
			v = v*10 + uint64(b[i]-'0')
			scale *= 10
		}
	}
	// 15 digits and their power of ten are exact, so that the quotient is rounded once.
	x := float64(v) / scale
	if i == 0 || i == 16 || i == len(b) || i > 1 && b[0] == '0' && b[1] != '.' || !ends(b[i]) {
		there, _, ok := d.anyNumber()
		if !there {
			return ok
		}
		var err error
		if x, err = strconv.ParseFloat(string(d.token), 64); err != nil || x < 0 {
			return true
		}
	} else {
		d.pos += i
	}
	d.sample.set(f, math.Float64bits(x))
	return true
}

// anyNumber reads a number of any form; if it is there, it is in token. whole: it has digits only.
// What is no number is skipped.
func (d *decoder) anyNumber() (there, whole, ok bool) {
	if c := d.peek(); c != '-' && c-'0' > 9 {
		return false, false, d.skip()
	}
	whole, ok = d.skipNumber()
	return ok && len(d.token) > 0, whole, ok
}

// instant keeps a time of RFC 3339.
func (d *decoder) instant(f int) bool {
	// "2026-11-22T15:45:12Z" is what the kubelet writes.
	if b := d.buf[d.pos:d.end]; len(b) >= 22 && b[0] == '"' && b[21] == '"' && b[11] == 'T' && b[14] == ':' && b[17] == ':' && b[20] == 'Z' {
		if string(b[1:11]) == d.date || d.newDay(b[1:11]) {
			h, okH := twoDigits(b[12:], 24)
			m, okM := twoDigits(b[15:], 60)
			s, okS := twoDigits(b[18:], 60)
			if okH && okM && okS {
				d.sample.set(f, uint64(d.day+h*3600+m*60+s)*uint64(time.Second))
				d.pos += 22
				return true
			}
		}
	}
	if d.peek() != '"' {
		return d.skip()
	}
	if !d.str(true) {
		return false
	}
	if t, err := time.Parse(time.RFC3339Nano, string(d.token)); err == nil && kept(t) {
		d.sample.set(f, uint64(t.UnixNano()))
	}
	return true
}

// kept says whether a time is one that can be told in ns since 1970. The API's zero time is in year 1.
func kept(t time.Time) bool { return t.Unix() >= 0 && t.Year() < 2262 }

func (d *decoder) newDay(b []byte) bool {
	t, err := time.Parse(time.DateOnly, string(b))
	if err != nil || !kept(t) {
		return false
	}
	d.date, d.day = string(b), t.Unix()
	return true
}

func twoDigits(b []byte, limit int64) (v int64, ok bool) {
	hi, lo := b[0]-'0', b[1]-'0'
	v = int64(hi)*10 + int64(lo)
	return v, hi <= 9 && lo <= 9 && v < limit
}

// str reads a string whose quote is the next byte; keep puts it into token, as valid UTF-8 and not
// much longer than maxName.
func (d *decoder) str(keep bool) bool {
	d.pos++
	d.token = d.token[:0]
	escaped := false
	for {
		for i, b := 0, d.buf[d.pos:d.end]; ; i++ {
			if i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
				continue
			}
			if keep && len(d.token) <= maxName {
				d.token = append(d.token, b[:i]...)
			}
			d.pos += i
			break
		}
		switch c := d.byte(); {
		case c == '"':
			d.pos++
			if keep && (escaped || !utf8.Valid(d.token)) && len(d.token) <= maxName {
				var s string
				if err := json.Unmarshal(append(append([]byte{'"'}, d.token...), '"'), &s); err != nil {
					return d.fail("a string: " + err.Error())
				}
				d.token = append(d.token[:0], s...)
			}
			return true
		case d.pos == d.end:
			return d.fail("the end of the string")
		case c == '\\':
			escaped = true
			n := len(d.token)
			if !d.escape() {
				return false
			}
			if !keep || n > maxName {
				d.token = d.token[:n]
			}
		case c < ' ':
			return d.fail("no control character in a string")
		}
	}
}

// escape reads a backslash and what belongs to it, and adds it to token as it is.
func (d *decoder) escape() bool {
	take := func() {
		d.token = append(d.token, d.buf[d.pos])
		d.pos++
	}
	take()
	switch d.byte() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		take()
		return true
	case 'u':
		take()
		for range 4 {
			if c := d.byte(); c-'0' > 9 && (c|0x20 < 'a' || c|0x20 > 'f') {
				return d.fail("a hexadecimal digit")
			}
			take()
		}
		return true
	}
	return d.fail("an escape of JSON")
}

// skip reads any value.
func (d *decoder) skip() bool {
	// Most of what is skipped are whole numbers.
	b := d.buf[d.pos:d.end]
	i := 0
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	if i > 0 && i < len(b) && ends(b[i]) && (i == 1 || b[0] != '0') {
		d.pos += i
		return true
	}
	switch c := d.peek(); {
	case c == '{':
		return d.object(nil)
	case c == '[':
		return d.list(d.skip)
	case c == '"':
		return d.str(false)
	case c == '-' || c-'0' <= 9:
		_, ok := d.skipNumber()
		return ok
	case c == 't':
		return d.word("true")
	case c == 'f':
		return d.word("false")
	case c == 'n':
		return d.word("null")
	}
	return d.fail("a value")
}

func (d *decoder) word(w string) bool {
	for i := range w {
		if d.byte() != w[i] {
			return d.fail(w)
		}
		d.pos++
	}
	return true
}

// skipNumber reads a number and leaves it in token, unless that would be over maxDigits: then
// token is empty.
func (d *decoder) skipNumber() (whole, ok bool) {
	d.token = d.token[:0]
	long := false
	take := func() {
		if len(d.token) == maxDigits {
			long = true
		} else {
			d.token = append(d.token, d.buf[d.pos])
		}
		d.pos++
	}
	digits := func() bool {
		if d.byte()-'0' > 9 {
			return d.fail("a digit")
		}
		for d.byte()-'0' <= 9 {
			take()
		}
		return true
	}
	whole = true
	if d.byte() == '-' {
		whole = false
		take()
	}
	if d.byte() == '0' {
		take()
	} else if !digits() {
		return false, false
	}
	if d.byte() == '.' {
		whole = false
		take()
		if !digits() {
			return false, false
		}
	}
	if d.byte()|0x20 == 'e' {
		whole = false
		take()
		if c := d.byte(); c == '+' || c == '-' {
			take()
		}
		if !digits() {
			return false, false
		}
	}
	if long {
		d.token = d.token[:0]
	}
	return whole && !long, true
}
