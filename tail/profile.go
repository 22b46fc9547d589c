package tail

import (
	"fmt"
	"slices"

	"stint/export/otlp"
)

// Container is what is known of a container beyond the path of its logs, and what its pod wishes
// for them. It is immutable; when something changes, another one takes its place.
type Container struct {
	Resource []otlp.KeyValue // further attributes, e.g. k8s.deployment.name
	// Exclude and ExcludeStream (stdout, stderr) say what is not read.
	Exclude       bool
	ExcludeStream [2]bool
	Multiline     string // one of MultilineModes, or empty: as configured
	Parse         string // one of ParseModes, or empty: as configured
}

// MultilineModes and ParseModes are the names that a pod's annotations may choose from. A
// pattern is not among them: whoever may annotate a pod should not make each agent run it.
var (
	MultilineModes = []string{"off", "auto", "java", "go", "python", "node", "dotnet", "ruby"}
	ParseModes     = []string{"off", "auto", "json", "klog"}
)

// profile is how the lines of a log become records, and whose they are. It is immutable; a log
// gets another one between two turns.
type profile struct {
	of    *Container // what it was made of; nil: nothing is known (yet)
	group *otlp.Group
	*encoded
	skip       bool          // nothing is read
	drop       [streams]bool // records of the stream are left out
	grouping   *grouping     // nil: each line is a record
	simple     bool          // neither of the two
	limited    bool          // by the rate limit
	body       bodyMode
	structured bool
}

// rules are the wishes that several logs share, made ready once.
type rules struct {
	groupings map[string]*grouping // by mode, and by pattern
	parse     map[string]bodyMode
	container *encoded // attributes of containers' records
}

func newRules() *rules {
	r := &rules{groupings: map[string]*grouping{}, parse: map[string]bodyMode{}, container: encodeAttrs(nil)}
	for _, mode := range MultilineModes {
		r.groupings[mode], _ = newGrouping(mode, "")
	}
	for _, mode := range ParseModes {
		r.parse[mode], _ = parseBodyMode(mode)
	}
	return r
}

// of makes the grouping that a configuration asks for; Check has seen it.
func (r *rules) of(m Multiline) *grouping {
	if m.Start == "" {
		return r.groupings[m.Mode]
	}
	key := "start " + m.Start
	if r.groupings[key] == nil {
		r.groupings[key], _ = newGrouping("start", m.Start)
	}
	return r.groupings[key]
}

// newProfile makes c's profile with what is known of it now. The scanner's.
func (c *chain) newProfile(about *Container) *profile {
	t := c.t
	p := &profile{of: about, grouping: t.rules.of(c.multiline), body: t.rules.parse[c.parse.Body], structured: c.parse.Structured}
	resource := c.base
	if about != nil {
		resource = unique(append(slices.Clone(resource), about.Resource...))
		p.skip = about.Exclude
		copy(p.drop[:], about.ExcludeStream[:])
		if g, ok := t.rules.groupings[about.Multiline]; ok {
			p.grouping = g
		}
		if m, ok := t.rules.parse[about.Parse]; ok {
			p.body = m
		}
	}
	p.simple = p.grouping == nil && p.drop == [streams]bool{}
	p.limited = c.who.uid != "" && t.cfg.Containers.RateLimit.RecordsPerSecond > 0
	p.group = otlp.NewGroup(resource, otlp.SchemaURL, "stint/tail", t.version)
	p.encoded = c.encoded
	if p.encoded == nil {
		p.encoded = encodeAttrs(c.attrs)
	}
	return p
}

// encoded are the attributes of a record, by stream.
type encoded struct {
	attrs [streams][]byte
	cut   [streams][]byte // the same with stint.truncated
}

func encodeAttrs(of []otlp.KeyValue) *encoded {
	e := &encoded{}
	for s, name := range [streams]string{stdout: "stdout", stderr: "stderr"} {
		attrs := slices.Clone(of)
		if name != "" {
			attrs = append(attrs, otlp.Attr("log.iostream", name))
		}
		e.attrs[s] = otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, attrs)
		e.cut[s] = otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, append(attrs, otlp.KeyValue{Key: "stint.truncated", Value: otlp.Bool(true)}))
	}
	return e
}

// unique keeps the first attribute of each name: a resource must not have two.
func unique(kvs []otlp.KeyValue) []otlp.KeyValue {
	seen := make(map[string]bool, len(kvs))
	return slices.DeleteFunc(kvs, func(kv otlp.KeyValue) bool {
		was := seen[kv.Key]
		seen[kv.Key] = true
		return was
	})
}

// metadataWait is how long the first records of a container wait for its metadata. Its files
// are open meanwhile: nothing can get lost.
const metadataWait = 2e9 // ns

// learn asks for metadata and gives c another profile when there is news. It says whether c may
// be read. Needs t.mu.
func (s *scanner) learn(c *chain, now int64) bool {
	if s.t.lookup == nil || c.who.uid == "" {
		return true
	}
	about := s.t.lookup(c.who.uid, c.who.name, c.who.restart)
	c.mu.Lock()
	defer c.mu.Unlock()
	if about != nil && about != c.wanted.of {
		c.wanted = c.newProfile(about)
	}
	return c.wanted.of != nil || now >= c.askUntil
}

// bucket is what is left of a rate limit.
type bucket struct {
	tokens float64
	at     int64 // ns
}

// take says whether one more record may pass; now is Tailer.clock.
func (b *bucket) take(limit RateLimit, now int64) bool {
	burst := limit.Burst
	if burst == 0 {
		burst = 10 * limit.RecordsPerSecond
	}
	b.tokens = min(b.tokens+float64(now-b.at)/1e9*limit.RecordsPerSecond, burst)
	if b.at == 0 {
		b.tokens = burst
	}
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// Multiline says how lines are put together into records.
type Multiline struct {
	Mode  string `yaml:"mode" enum:"off,auto,java,go,python,node,dotnet,ruby" doc:"whose stack traces become one record each; auto: those of any of them. Also chosen per container by the annotation stint.io/multiline"`
	Start string `yaml:"start" doc:"a regular expression (RE2); a line that it matches begins a record, all others go on with the one before; takes the place of mode"`
}

// Shorthand is the key that a single value in place of the section means.
func (Multiline) Shorthand() string { return "mode" }

// SetDefaults prepares one that stands in an entry of files.
func (m *Multiline) SetDefaults() { m.Mode = "off" }

// Parse says what is made of the text of a record.
type Parse struct {
	Body       string `yaml:"body" enum:"off,auto,json,klog" doc:"what a record's text is taken for: JSON objects become attributes, klog headers severity and source; level and trace ids of either are understood. Text that is neither stays as it is. Also chosen per container by the annotation stint.io/parse"`
	Structured bool   `yaml:"structured" doc:"a JSON object becomes the record's body, not its attributes"`
}

// Shorthand is the key that a single value in place of the section means.
func (Parse) Shorthand() string { return "body" }

// SetDefaults prepares one that stands in an entry of files.
func (p *Parse) SetDefaults() { p.Body = "off" }

func (m Multiline) check(path string) error {
	if m.Start == "" {
		return nil
	}
	if _, err := newGrouping("start", m.Start); err != nil {
		return fmt.Errorf("%s.start: %q is no regular expression: %w; write one in RE2 syntax, e.g. ^\\d{4}-", path, m.Start, err)
	}
	return nil
}
