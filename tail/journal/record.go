package journal

import (
	"encoding/binary"
	"hash/fnv"
	"math/bits"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"stint/export/otlp"
)

// Fields that have a place of their own in a record. The others become attributes.
const (
	fieldCursor = iota
	fieldRealtime
	fieldSource
	fieldMessage
	fieldPriority
	fieldMachine
	fieldUnit
	fieldIdentifier
	fieldContainerName
	fieldContainerID
	fieldContainerIDFull
	fieldImage
	placed // how many they are
)

// term is a journal field and the attribute that it becomes.
type term struct {
	field, key string
	number     bool
}

// terms lists what is asked for. The names are those of the OTel log data model's appendix on
// systemd-journald (opentelemetry-specification, specification/logs/data-model-appendix.md), where
// other fields stand under journald.*, with one difference: what it puts on the resource and
// changes from process to process stands on the record, or each process would be a group.
// systemd.journal-fields(7) tells what the fields mean.
var terms = []term{
	fieldCursor:          {field: "__CURSOR"},
	fieldRealtime:        {field: "__REALTIME_TIMESTAMP"},
	fieldSource:          {field: "_SOURCE_REALTIME_TIMESTAMP"},
	fieldMessage:         {field: "MESSAGE"},
	fieldPriority:        {field: "PRIORITY"},
	fieldMachine:         {field: "_MACHINE_ID"},
	fieldUnit:            {field: "_SYSTEMD_UNIT"},
	fieldIdentifier:      {field: "SYSLOG_IDENTIFIER"},
	fieldContainerName:   {field: "CONTAINER_NAME"}, // these four by the log drivers of docker and podman
	fieldContainerID:     {field: "CONTAINER_ID"},
	fieldContainerIDFull: {field: "CONTAINER_ID_FULL"},
	fieldImage:           {field: "IMAGE_NAME"},

	{"_PID", "process.pid", true},
	{"_COMM", "process.executable.name", false},
	{"_EXE", "process.executable.path", false},
	{"_UID", "process.user.id", true},
	{"TID", "thread.id", true},
	{"CODE_FILE", "code.file.path", false},
	{"CODE_LINE", "code.line.number", true},
	{"CODE_FUNC", "code.function.name", false},
	{"SYSLOG_FACILITY", "syslog.facility.code", true},
	{"SYSLOG_PID", "syslog.pid", true},
	{"_TRANSPORT", "journald.transport", false},
	{"MESSAGE_ID", "journald.message_id", false},
	{"UNIT", "journald.unit", false}, // of which systemd itself speaks
	{"_SYSTEMD_USER_UNIT", "journald.systemd_user_unit", false},
}

// moreTerms are fields with a name in the conventions that are only sent when asked for: command
// lines hold secrets.
var moreTerms = []term{
	{"_CMDLINE", "process.command_line", false},
	{"_HOSTNAME", "host.name", false},
}

// withFields adds the fields that the configuration asks for.
func withFields(more []string) []term {
	all := slices.Clone(terms)
	for _, name := range more {
		if slices.ContainsFunc(all, func(t term) bool { return t.field == name }) {
			continue
		}
		t := term{field: name, key: "journald." + strings.ToLower(strings.TrimLeft(name, "_"))}
		if i := slices.IndexFunc(moreTerms, func(t term) bool { return t.field == name }); i >= 0 {
			t = moreTerms[i]
		}
		all = append(all, t)
	}
	return all
}

// severities of the priorities (data-model-appendix.md, appendix B, column Syslog).
var severities = [...]int{21, 19, 18, 17, 13, 10, 9, 5}

// unit is what records of one origin share: a unit, the identifier in it, a container.
type unit struct {
	key   string
	group *otlp.Group
	lane  uint32
	skip  bool  // excluded
	used  int64 // turn in which it was last seen

	first, last int // its records of this turn in encoder.index
}

// maxUnits origins are known at a time. Sessions and transient scopes make new ones all day; one
// that comes back gets a new group, which costs a frame in the batch and a few microseconds.
const maxUnits = 512

// encoder turns entries into records. They are gathered for a turn and then ordered by unit, so
// that a chunk holds many records of one unit however they were interleaved; within a unit they
// keep their order.
type encoder struct {
	terms    []term
	resource []otlp.KeyValue
	version  string
	cfg      Config
	machine  []byte // entries of other machines are not ours; nil: all are

	units   map[string]*unit
	touched []*unit // with records of this turn
	turn    int64
	data    []byte // encoded records of this turn
	index   []gathered

	key, attrs, repaired []byte
}

// gathered is one record of the turn.
type gathered struct {
	from, to int // in encoder.data
	next     int // record of the same unit; none: the last
}

func newEncoder(o Options, machine []byte) *encoder {
	return &encoder{
		terms: withFields(o.Fields), resource: o.Resource, version: o.Version, cfg: o.Config, machine: machine, units: map[string]*unit{},
	}
}

// fields is the index that a parser fills entries by.
func (c *encoder) fields() map[string]int {
	m := make(map[string]int, len(c.terms))
	for i, t := range c.terms {
		m[t.field] = i
	}
	return m
}

// add encodes e; it says whether e became a record and whether something of it was left out.
func (c *encoder) add(e *entry, observed uint64) (record, cut bool) {
	if m := e.get(fieldMachine); c.machine != nil && m != nil && string(m) != string(c.machine) {
		return false, false
	}
	u := c.unit(e)
	if u.skip {
		return false, false
	}
	r := otlp.LogRecord{Time: 1000 * micros(e.get(fieldSource)), Observed: observed, Body: e.get(fieldMessage)}
	if r.Time == 0 {
		r.Time = 1000 * micros(e.get(fieldRealtime))
	}
	if p := e.get(fieldPriority); len(p) == 1 && p[0] >= '0' && p[0] <= '7' {
		r.Severity, r.SeverityText = severities[p[0]-'0'], priorities[p[0]-'0']
	}
	if e.cut {
		r.Body = cutAtRune(r.Body)
	}
	r.Body = c.valid(r.Body)
	c.attrs = c.attrs[:0]
	for i := placed; i < len(c.terms); i++ {
		v := e.get(i)
		if v == nil {
			continue
		}
		if n, ok := number(v); ok && c.terms[i].number {
			c.attrs = appendInt(c.attrs, c.terms[i].key, n)
		} else {
			c.attrs = appendText(c.attrs, c.terms[i].key, v)
		}
	}
	if e.cut {
		c.attrs = append(c.attrs, truncated...)
	}
	r.Attrs = c.attrs

	from := len(c.data)
	c.data = otlp.AppendLogRecord(c.data, &r)
	c.index = append(c.index, gathered{from: from, to: len(c.data), next: none})
	i := len(c.index) - 1
	if u.first == none {
		u.first = i
		c.touched = append(c.touched, u)
	} else {
		c.index[u.last].next = i
	}
	u.last = i
	return true, e.cut
}

var truncated = otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, []otlp.KeyValue{{Key: "stint.truncated", Value: otlp.Bool(true)}})

// reset ends a turn.
func (c *encoder) reset() {
	for _, u := range c.touched {
		u.first = none
	}
	c.touched, c.index = c.touched[:0], c.index[:0]
	if cap(c.data) > 4*turnBytes {
		c.data = nil // one huge record is no reason to keep its memory
	}
	c.data = c.data[:0]
	c.turn++
}

// unit finds the origin of e.
func (c *encoder) unit(e *entry) *unit {
	id := e.get(fieldContainerIDFull)
	if id == nil {
		id = e.get(fieldContainerID)
	}
	name, identifier, container, image := short(e.get(fieldUnit)), short(e.get(fieldIdentifier)), short(e.get(fieldContainerName)), short(e.get(fieldImage))
	id = short(id)
	k := append(append(c.key[:0], name...), 0)
	k = append(append(k, identifier...), 0)
	k = append(append(k, container...), 0)
	k = append(k, id...)
	c.key = k
	if u := c.units[string(k)]; u != nil {
		u.used = c.turn
		return u
	}
	c.makeRoom()
	u := &unit{key: string(k), used: c.turn, first: none}
	h := fnv.New32a()
	h.Write(k)
	u.lane = h.Sum32()
	u.skip = c.cfg.excluded(string(name))
	u.group = c.group(string(name), string(identifier), string(container), string(id), string(image))
	c.units[u.key] = u
	return u
}

// short bounds what is remembered of a unit. Names of units have at most 255 bytes; identifiers
// are what a program calls itself.
func short(name []byte) []byte { return name[:min(len(name), 256)] }

// group describes an origin. service.name is SYSLOG_IDENTIFIER as in the data model's appendix;
// of a container, where it is part of the id, the container's name; else the unit's.
func (c *encoder) group(unit, identifier, container, id, image string) *otlp.Group {
	kvs := slices.Clone(c.resource)
	add := func(key, v string) {
		if v != "" {
			kvs = append(kvs, otlp.Attr(key, v))
		}
	}
	name := container
	if name == "" {
		name = identifier
	}
	if name == "" {
		name = strings.TrimSuffix(unit, ".service")
	}
	add("service.name", name)
	add("systemd.unit", unit)
	add("container.name", container)
	add("container.id", id)
	add("container.image.name", image)
	return otlp.NewGroup(kvs, otlp.SchemaURL, "stint/tail/journal", c.version)
}

// makeRoom forgets the origin that was not seen for longest, if there are too many. One with
// records in this turn is still referred to by touched, so it may go too.
func (c *encoder) makeRoom() {
	if len(c.units) < maxUnits {
		return
	}
	var oldest *unit
	for _, u := range c.units {
		if oldest == nil || u.used < oldest.used {
			oldest = u
		}
	}
	delete(c.units, oldest.key)
}

// valid returns b, or what it is as UTF-8; until the next call.
func (c *encoder) valid(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	if cap(c.repaired) > 4*turnBytes {
		c.repaired = nil
	}
	c.repaired = otlp.AppendValidUTF8(c.repaired[:0], b)
	return c.repaired
}

// appendText appends an attribute as otlp.AppendAttrs does, but from bytes, which would have to
// become a string for each record.
func appendText(dst []byte, key string, v []byte) []byte {
	if !utf8.Valid(v) {
		v = otlp.AppendValidUTF8(nil, v) // rare: fields but MESSAGE are text
	}
	value := fieldLen(len(v))
	dst = appendKey(dst, key, value)
	dst = binary.AppendUvarint(append(dst, 1<<3|2), uint64(len(v)))
	return append(dst, v...)
}

func appendInt(dst []byte, key string, n uint64) []byte {
	return binary.AppendUvarint(append(appendKey(dst, key, 1+uvarintLen(n)), 3<<3), n)
}

// appendKey appends LogRecord.attributes, KeyValue.key and the frame of KeyValue.value.
func appendKey(dst []byte, key string, value int) []byte {
	dst = binary.AppendUvarint(append(dst, otlp.AttrsOfLogRecord<<3|2), uint64(fieldLen(len(key))+fieldLen(value)))
	dst = binary.AppendUvarint(append(dst, 1<<3|2), uint64(len(key)))
	dst = append(dst, key...)
	return binary.AppendUvarint(append(dst, 2<<3|2), uint64(value))
}

// fieldLen is the size of a length-delimited protobuf field of n bytes.
func fieldLen(n int) int { return 1 + uvarintLen(uint64(n)) + n }

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// number reads a decimal number that an int64 holds.
func number(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + uint64(c-'0')
	}
	return n, true
}

// micros reads a time; 0 is none, and so is what does not fit as nanoseconds.
func micros(b []byte) uint64 {
	n, _ := number(b)
	if n > uint64(1<<63-1)/uint64(time.Microsecond) {
		return 0
	}
	return n
}

// cutAtRune takes the beginning of a rune off the end.
func cutAtRune(b []byte) []byte {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}
