package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// all holds a setting of every shape the package knows.
type all struct {
	Name     string            `yaml:"name" doc:"text"`
	On       bool              `yaml:"on" doc:"a switch"`
	Size     int               `yaml:"size" unit:"bytes" doc:"bytes"`
	Count    uint8             `yaml:"count" unit:"records" doc:"few"`
	Rate     float64           `yaml:"rate" doc:"a number"`
	Every    time.Duration     `yaml:"every" doc:"time"`
	Format   string            `yaml:"format" enum:"auto,cri,docker,plain" doc:"how"`
	Globs    []string          `yaml:"globs" doc:"names"`
	Sizes    []int             `yaml:"sizes" unit:"bytes" doc:"numbers"`
	Password secret            `yaml:"password" doc:"hidden"`
	Headers  map[string]secret `yaml:"headers" doc:"hidden too"`
	Labels   map[string]string `yaml:"labels" doc:"plain map"`
	Sub      sub               `yaml:"sub" doc:"a section"`
	Maybe    *sub              `yaml:"maybe" doc:"a section that may be absent"`
	Files    []files           `yaml:"files" doc:"a list of sections"`
	Routes   map[string]sub    `yaml:"routes" doc:"a map of sections"`
	Outs     outs              `yaml:"outs" doc:"a map whose entries differ in type"`
	Lines    lines             `yaml:"lines" doc:"a section that one value may stand for"`
	Internal int               `yaml:"-"`
}

type sub struct {
	MaxLineBytes int    `yaml:"max_line_bytes" unit:"bytes" doc:"a bound"`
	Mode         string `yaml:"mode" doc:"a word"`
}

type files struct {
	Include []string `yaml:"include" doc:"globs"`
	Format  string   `yaml:"format" enum:"auto,plain" doc:"how"`
}

func (f *files) SetDefaults() { f.Format = "auto" }

type lines struct {
	Mode  string `yaml:"mode" enum:"off,auto" doc:"a word"`
	Start string `yaml:"start" doc:"a pattern"`
}

func (lines) Shorthand() string { return "mode" }

type secret string

func (secret) Masked() string { return "***" }

type out interface{ out() }

type outs map[string]out

type push struct {
	Endpoint string            `yaml:"endpoint" doc:"where"`
	Timeout  time.Duration     `yaml:"timeout" doc:"how long"`
	Headers  map[string]secret `yaml:"headers" doc:"hidden"`
}

type show struct {
	Loud bool `yaml:"loud" doc:"more"`
}

func (*push) out() {}
func (*show) out() {}

func (outs) Kinds() []string { return []string{"push", "show"} }

func (outs) NewValue(key string) (any, error) {
	switch kind, _, _ := strings.Cut(key, "/"); kind {
	case "push":
		return &push{Timeout: 10 * time.Second}, nil
	case "show":
		return &show{}, nil
	default:
		return nil, fmt.Errorf("there is no out %q; write push or show", kind)
	}
}

func defaults() all {
	return all{
		Name: "node", Size: 4096, Every: 5 * time.Second, Format: "auto", Globs: []string{"a*"},
		Sub: sub{MaxLineBytes: 1 << 20}, Lines: lines{Mode: "off"}, Files: []files{{Include: []string{"/var/log/syslog"}, Format: "auto"}},
	}
}

// load gives what a text and overrides make of the defaults.
func load(text string, environ []string, set ...string) (all, *Loader) {
	v := defaults()
	l := New(&v, environ)
	l.Data("stint.yaml", []byte(text))
	l.Environ("STINT_")
	for _, s := range set {
		l.Set(s)
	}
	return v, l
}

func TestValues(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cret $$ ${env:N}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"N=64", "EMPTY=", "DOLLAR=$$ ${env:N}", "STINT_RATE=0.25"}

	for name, tc := range map[string]struct {
		text string
		set  []string
		want func(*all)
	}{
		"an empty document is the defaults":        {text: "", want: func(*all) {}},
		"a comment alone is the defaults":          {text: "# nothing\n", want: func(*all) {}},
		"null is the defaults":                     {text: "~", want: func(*all) {}},
		"keys and sections without value, too":     {text: "name:\nsub:\nfiles:\n", want: func(*all) {}},
		"one value stands for a section":           {text: "lines: auto", want: func(a *all) { a.Lines.Mode = "auto" }},
		"off is text there":                        {text: "lines: off", want: func(a *all) { a.Lines.Mode = "off" }},
		"one value stands for a section in a flag": {set: []string{"lines=auto"}, want: func(a *all) { a.Lines.Mode = "auto" }},
		"such a section may be written out":        {text: "lines: {start: x}", want: func(a *all) { a.Lines.Start = "x" }},
		"text that looks like a number stays text": {text: "name: 1.10", want: func(a *all) { a.Name = "1.10" }},
		"text that looks like a date stays text":   {text: "name: 2026-01-02", want: func(a *all) { a.Name = "2026-01-02" }},
		"quotes don't matter for numbers":          {text: `size: "64"`, want: func(a *all) { a.Size = 64 }},
		"a leading zero is decimal":                {text: "size: 010", want: func(a *all) { a.Size = 10 }},
		"a duration":                               {text: "every: 1m30s", want: func(a *all) { a.Every = 90 * time.Second }},
		"a list replaces the default list":         {text: "globs: [x, y]", want: func(a *all) { a.Globs = []string{"x", "y"} }},
		"an empty list empties it":                 {text: "globs: []", want: func(a *all) { a.Globs = nil }},
		"list entries begin with their defaults":   {text: "files: [{include: [x]}]", want: func(a *all) { a.Files = []files{{Include: []string{"x"}, Format: "auto"}} }},
		"an absent section comes into being":       {text: "maybe: {mode: x}", want: func(a *all) { a.Maybe = &sub{Mode: "x"} }},
		"a map of sections":                        {text: "routes: {a: {mode: x}, b: }", want: func(a *all) { a.Routes = map[string]sub{"a": {Mode: "x"}, "b": {}} }},
		"entries of a map choose their type": {text: "outs: {push/a: {endpoint: x}, show: }", want: func(a *all) {
			a.Outs = outs{"push/a": &push{Endpoint: "x", Timeout: 10 * time.Second}, "show": &show{}}
		}},
		"an alias stands for its value":             {text: "sub: &s {mode: x}\nmaybe: *s", want: func(a *all) { a.Sub.Mode = "x"; a.Maybe = &sub{Mode: "x"} }},
		"a variable fills a number":                 {text: "size: ${env:N}", want: func(a *all) { a.Size = 64 }},
		"a variable inside text":                    {text: "name: a-${env:N}-b", want: func(a *all) { a.Name = "a-64-b" }},
		"a default where the variable is not set":   {text: "name: ${env:NOPE:-x:y}", want: func(a *all) { a.Name = "x:y" }},
		"a default where the variable is empty":     {text: "name: ${env:EMPTY:-x}", want: func(a *all) { a.Name = "x" }},
		"an empty variable is empty text":           {text: "name: ${env:EMPTY}", want: func(a *all) { a.Name = "" }},
		"what is put in is not expanded again":      {text: "name: ${env:DOLLAR}", want: func(a *all) { a.Name = "$$ ${env:N}" }},
		"two dollars are one":                       {text: "name: $${env:N} $ $x $$", want: func(a *all) { a.Name = "${env:N} $ $x $" }},
		"a file, less its last newline":             {text: "password: ${file:" + file + "}", want: func(a *all) { a.Password = "s3cret $$ ${env:N}" }},
		"keys are not expanded":                     {text: "labels: {'${env:N}': x}", want: func(a *all) { a.Labels = map[string]string{"${env:N}": "x"} }},
		"--set is stronger than the environment":    {set: []string{"rate=0.5"}, want: func(a *all) { a.Rate = 0.5 }},
		"--set is stronger than the file":           {text: "sub: {mode: x}", set: []string{"sub.mode=y"}, want: func(a *all) { a.Sub.Mode = "y" }},
		"the later --set wins":                      {set: []string{"size=1", "size=2"}, want: func(a *all) { a.Size = 2 }},
		"--set takes text as it is":                 {set: []string{"name=a: b # ${env:N} $$"}, want: func(a *all) { a.Name = "a: b # ${env:N} $$" }},
		"--set takes quotes off":                    {set: []string{`name="a\tb"`}, want: func(a *all) { a.Name = "a\tb" }},
		"--set can empty a text":                    {set: []string{"name="}, want: func(a *all) { a.Name = "" }},
		"--set can empty a list":                    {set: []string{"globs="}, want: func(a *all) { a.Globs = nil }},
		"--set takes a list":                        {set: []string{`globs=["*/x", y]`}, want: func(a *all) { a.Globs = []string{"*/x", "y"} }},
		"--set takes a section":                     {set: []string{"sub={mode: x}"}, want: func(a *all) { a.Sub.Mode = "x" }},
		"--set reaches into a default list":         {set: []string{"files[0].format=plain"}, want: func(a *all) { a.Files[0].Format = "plain" }},
		"--set takes an index as a key":             {set: []string{"files.0.include.0=x"}, want: func(a *all) { a.Files[0].Include[0] = "x" }},
		"--set appends to a list":                   {set: []string{"files[1].include=[x]"}, want: func(a *all) { a.Files = append(a.Files, files{Include: []string{"x"}, Format: "auto"}) }},
		"--set makes an entry of a map":             {set: []string{"outs.push/a.endpoint=x=y"}, want: func(a *all) { a.Outs = outs{"push/a": &push{Endpoint: "x=y", Timeout: 10 * time.Second}} }},
		"--set adds to an entry of the file":        {text: "outs: {push: {endpoint: x}}", set: []string{"outs.push.timeout=1s"}, want: func(a *all) { a.Outs = outs{"push": &push{Endpoint: "x", Timeout: time.Second}} }},
		"--set takes keys in quotes":                {set: []string{`labels."a.b=c"=x`}, want: func(a *all) { a.Labels = map[string]string{"a.b=c": "x"} }},
		"--set makes an entry with its defaults":    {set: []string{"outs.show="}, want: func(a *all) { a.Outs = outs{"show": &show{}} }},
		"--set reaches into an absent section":      {set: []string{"maybe.mode=x"}, want: func(a *all) { a.Maybe = &sub{Mode: "x"} }},
		"--set reaches into a map of sections":      {text: "routes: {a: {max_line_bytes: 7}}", set: []string{"routes.a.mode=x"}, want: func(a *all) { a.Routes = map[string]sub{"a": {7, "x"}} }},
		"a value --set through an alias is its own": {text: "sub: &s {mode: x}\nmaybe: *s", set: []string{"maybe.mode=y"}, want: func(a *all) { a.Sub.Mode = "x"; a.Maybe = &sub{Mode: "y"} }},
	} {
		t.Run(name, func(t *testing.T) {
			want := defaults()
			want.Rate = 0.25
			tc.want(&want)
			got, l := load(tc.text, environ, tc.set...)
			if len(l.Faults()) > 0 {
				t.Fatalf("faults:\n%v", l.Faults())
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("load(%q, %q) (-want +got)\n%s", tc.text, tc.set, d)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		env  string
		want func(*all)
	}{
		"a key":                            {env: "STINT_SIZE=7", want: func(a *all) { a.Size = 7 }},
		"a key in a section":               {env: "STINT_SUB_MAX_LINE_BYTES=7", want: func(a *all) { a.Sub.MaxLineBytes = 7 }},
		"a list":                           {env: "STINT_GLOBS=[x, y]", want: func(a *all) { a.Globs = []string{"x", "y"} }},
		"an entry of a list":               {env: "STINT_FILES_0_INCLUDE_1=x", want: func(a *all) { a.Files[0].Include = append(a.Files[0].Include, "x") }},
		"an absent section":                {env: "STINT_MAYBE_MODE=x", want: func(a *all) { a.Maybe = &sub{Mode: "x"} }},
		"a type of a map":                  {env: "STINT_OUTS_PUSH_ENDPOINT=x", want: func(a *all) { a.Outs = outs{"push": &push{Endpoint: "x", Timeout: 10 * time.Second}} }},
		"a name that the file gave":        {text: "outs: {push/a-b: }", env: "STINT_OUTS_PUSH_A_B_ENDPOINT=x", want: func(a *all) { a.Outs = outs{"push/a-b": &push{Endpoint: "x", Timeout: 10 * time.Second}} }},
		"nothing where it is empty":        {env: "STINT_SIZE=", want: func(*all) {}},
		"the text as it is":                {env: "STINT_NAME=pa$$word ${env:X}", want: func(a *all) { a.Name = "pa$$word ${env:X}" }},
		"nothing for a Service's host":     {env: "STINT_CLUSTER_SERVICE_HOST=10.0.0.1", want: func(*all) {}},
		"nothing for a Service's port":     {env: "STINT_PORT=tcp://10.0.0.1:4317", want: func(*all) {}},
		"nothing for a Service's address":  {env: "STINT_CLUSTER_PORT_4317_TCP_ADDR=10.0.0.1", want: func(*all) {}},
		"nothing for a Service port named": {env: "STINT_CLUSTER_SERVICE_PORT_OTLP_GRPC=4317", want: func(*all) {}},
	} {
		t.Run(name, func(t *testing.T) {
			want := defaults()
			tc.want(&want)
			got, l := load(tc.text, []string{tc.env})
			if len(l.Faults()) > 0 {
				t.Fatalf("faults:\n%v", l.Faults())
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s (-want +got)\n%s", tc.env, d)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		env  []string
		set  []string
		want []string
	}{
		"a word for a number": {text: "sub:\n    max_line_bytes: banana",
			want: []string{`stint.yaml:2:21: sub.max_line_bytes: "banana" is not a whole number; give bytes, e.g. 1048576`}},
		"a size with a suffix":     {text: "size: 4MiB", want: []string{`stint.yaml:1:7: size: "4MiB" is not a whole number; give bytes: 4194304`}},
		"a fraction":               {text: "size: 1.5", want: []string{`stint.yaml:1:7: size: "1.5" is not a whole number; give bytes, e.g. 4096`}},
		"a number that is too big": {text: "count: 256", want: []string{`stint.yaml:1:8: count: "256" is too large; give records, e.g. 1`}},
		"not a number":             {text: "rate: .nan", want: []string{`stint.yaml:1:7: rate: ".nan" is not a number; give a number, e.g. 0.5`}},
		"yes for true":             {text: "on: yes", want: []string{`stint.yaml:1:5: on: "yes" is neither true nor false; write true`}},
		"a duration without unit":  {text: "every: 5", want: []string{`stint.yaml:1:8: every: "5" has no unit; write 5s for seconds or 5ms for milliseconds`}},
		"a bad duration":           {text: "every: soon", want: []string{`stint.yaml:1:8: every: "soon" is not a duration; give a number with a unit (ms, s, m, h), e.g. 5s`}},
		"a word that is not one of those": {text: "format: dockr",
			want: []string{`stint.yaml:1:9: format: "dockr" is not one of auto, cri, docker, plain; did you mean docker`}},
		"a misspelt key": {text: "siez: 4", want: []string{`stint.yaml:1:1: siez: unknown key; did you mean size`}},
		"a key of another section": {text: "loud: true",
			want: []string{`stint.yaml:1:1: loud: unknown key; did you mean outs.show.loud`}},
		"a key like no other": {text: "sub: {xyzzy: 4}",
			want: []string{`stint.yaml:1:7: sub.xyzzy: unknown key; known here: max_line_bytes, mode`}},
		"a field that is no setting": {text: "Internal: 4", want: []string{`stint.yaml:1:1: Internal: unknown key; known here: name, on, size, count, rate, every, format, globs, sizes, password, headers, labels, sub, maybe, files, routes, outs, lines`}},
		"a key that comes twice":     {text: "size: 1\nname: x\nsize: 2", want: []string{`stint.yaml:3:1: size: is here a second time, first at line 1; remove one of the two`}},
		"a list for a section":       {text: "sub: [x]", want: []string{`stint.yaml:1:6: sub: a list where a section belongs; known keys: max_line_bytes, mode`}},
		"a value for a list":         {text: "globs: x", want: []string{`stint.yaml:1:8: globs: a single value where a list belongs; write ["x"]`}},
		"a section for a value":      {text: "size: {a: b}", want: []string{`stint.yaml:1:7: size: keys with values where whole number belongs; give a single value`}},
		"a value for a map is not shown": {text: "headers: secret-token",
			want: []string{`stint.yaml:1:10: headers: a single value where keys with values belong; write headers: {key: value}`}},
		"a bad entry of a list": {text: "files:\n- include: [a]\n- format: x",
			want: []string{`stint.yaml:3:11: files[1].format: "x" is not one of auto, plain; write auto or plain`}},
		"a type that does not exist": {text: "outs: {pull/a: {}}", want: []string{`stint.yaml:1:8: outs.pull/a: there is no out "pull"; write push or show`}},
		"the mask for a secret":      {text: "password: '***'", want: []string{`stint.yaml:1:11: password: is the mask that stands for a secret, not the secret; give the value, e.g. ${env:NAME} or ${file:/path}`}},
		"a merge key": {text: "sub: &s {mode: x}\nmaybe:\n  <<: *s",
			want: []string{`stint.yaml:3:3: maybe.<<: merge keys are not supported; write the keys out, or use an alias for the whole value: key: *name`}},
		"an anchor in itself":    {text: "labels: &a {x: *a}", want: []string{`stint.yaml:1:9: labels.x: the anchor &a contains itself; write the value out`}},
		"a list as a key":        {text: "? [a]\n: b", want: []string{`stint.yaml:1:3: a list where a key belongs; write key: value`}},
		"a tag":                  {text: "name: !!binary aGk=", want: []string{`stint.yaml:1:7: name: the tag !!binary is not used here; remove it`}},
		"a variable not set":     {text: "name: ${env:NOPE}", want: []string{`stint.yaml:1:7: name: the environment variable NOPE is not set; set it, or write ${env:NOPE:-default}`}},
		"a variable that is bad": {text: "size: ${env:WORD}", env: []string{"WORD=banana"}, want: []string{`stint.yaml:1:7: size: "banana" (from ${env:WORD}) is not a whole number; give bytes, e.g. 4096`}},
		"a file that is not there": {text: "name: ${file:/does/not/exist}",
			want: []string{`stint.yaml:1:7: name: the file "/does/not/exist" cannot be read: no such file or directory; write ${file:/path} with the path of a small file that the agent may read`}},
		"a device for a file": {text: "name: ${file:/dev/zero}",
			want: []string{`stint.yaml:1:7: name: the file "/dev/zero" cannot be read: it is not a regular file; write ${file:/path} with the path of a small file that the agent may read`}},
		"an expansion of another kind": {text: "name: ${HOME}", want: []string{`stint.yaml:1:7: name: ${HOME…} is not known; write ${env:NAME}, ${file:/path}, or $${ for the characters ${`}},
		"an expansion not closed":      {text: "name: ${env:HOME", want: []string{`stint.yaml:1:7: name: ${ is not closed by }; write ${env:NAME}, or $${ for the characters ${`}},
		"an expansion in a default":    {text: "name: ${env:X:-${env:Y}}", want: []string{`stint.yaml:1:7: name: ${env:X:-…} holds another ${; a default is plain text`}},
		"a second document":            {text: "size: 1\n---\nsize: 2", want: []string{`stint.yaml:2:1: a second document begins; keep one document in a file`}},
		"no YAML: a tab":               {text: "sub:\n\tmode: x", want: []string{`stint.yaml:2: is not YAML: found character that cannot start any token; indent with spaces, and put text that begins with @, ` + "`" + ` or % in quotes`}},
		"no YAML: a second colon":      {text: "size: 1\nname: a: b", want: []string{`stint.yaml:2: is not YAML: mapping values are not allowed in this context; put text that holds ": " in quotes, and begin the keys of one section in one column`}},
		"no YAML: a star":              {text: "size: 1\n\nglobs: [*/x]\nname: y", want: []string{`stint.yaml:3: is not YAML: did not find expected alphabetic or numeric character; put text that begins with * or & in quotes`}},
		"no YAML: a bracket open":      {text: "size: 1\nglobs: [a, b\nname: x\nrate: 1\n", want: []string{`stint.yaml:2: is not YAML: did not find expected ',' or ']'; look here and just above for a missing quote, bracket, colon or indentation`}},
		"no YAML: an anchor not there": {text: "size: 1\nglobs: [*x]", want: []string{`stint.yaml:2: is not YAML: unknown anchor 'x' referenced; put text that begins with * or & in quotes`}},
		"no YAML: bytes":               {text: "size: 1\nname: \xff\xfe", want: []string{`stint.yaml:2: is not YAML: invalid leading UTF-8 octet`}},

		"--set: a word for a number":  {set: []string{"sub.max_line_bytes=banana"}, want: []string{`--set sub.max_line_bytes=banana: sub.max_line_bytes: "banana" is not a whole number; give bytes, e.g. 1048576`}},
		"--set: a misspelt key":       {set: []string{"sub.mdoe=x"}, want: []string{`--set sub.mdoe: sub.mdoe: unknown key; did you mean mode`}},
		"--set: no value":             {set: []string{"sub.mode"}, want: []string{`--set sub.mode: is not an assignment: no = in it; write --set path.to.key=value`}},
		"--set: an index too far":     {set: []string{"files[2].format=plain"}, want: []string{`--set files: files: "2" is not an index of this list of 1; write 0 to 1; 1 appends`}},
		"--set: a key below a value":  {set: []string{"size.x=1"}, want: []string{`--set size.x: size.x: size is a value and has no keys; write size=VALUE`}},
		"--set: a secret stays one":   {set: []string{"headers.a={b: hunter2}", "outs={push: hunter2}"}, want: []string{`--set outs: outs.push: a single value where a section belongs; known keys: endpoint, timeout, headers`}},
		"--set: no YAML":              {set: []string{"globs=[*/x]"}, want: []string{`--set globs=[*/x]: globs: is not YAML: did not find expected alphabetic or numeric character; put text that begins with * or & in quotes`}},
		"--set: a type not there":     {set: []string{"outs.pull.x=1"}, want: []string{`--set outs.pull: outs.pull: there is no out "pull"; write push or show`}},
		"environment: a bad number":   {env: []string{"STINT_SIZE=banana"}, want: []string{`env STINT_SIZE: size: "banana" is not a whole number; give bytes, e.g. 4096`}},
		"environment: a misspelt key": {env: []string{"STINT_SUB_MDOE=x"}, want: []string{`env STINT_SUB_MDOE: names no key; did you mean STINT_SUB_MODE`}},
		"all at once, in order": {text: "every: 5\nsiez: 1\nsub: {mode: [x]}\nformat: x", env: []string{"STINT_RATE=x"}, set: []string{"count=x"},
			want: []string{"stint.yaml:1:8: every", "stint.yaml:2:1: siez", "stint.yaml:3:13: sub.mode", "stint.yaml:4:9: format", "env STINT_RATE: rate", "--set count=x: count"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, l := load(tc.text, tc.env, tc.set...)
			fs := l.Faults()
			if len(fs) != len(tc.want) {
				t.Fatalf("%d faults, want %d:\n%v\nof %+v", len(fs), len(tc.want), fs, got)
			}
			for i, f := range fs {
				if len(fs) == 1 && f.String() != tc.want[i] || !strings.HasPrefix(f.String(), tc.want[i]) {
					t.Errorf("fault\n%s, want\n%s", f, tc.want[i])
				}
			}
		})
	}
}

func TestCheckMapsPathsToPlaces(t *testing.T) {
	_, l := load("sub:\n  mode: x\nouts:\n  push/a: {}\nsize: banana\n", nil, "routes.a.mode=b")
	l.Check(errors.Join(
		errors.New("sub.mode: is odd; make it even"),
		errors.Join(errors.New(`outs.push/a.endpoint: missing; give one`), nil),
		errors.New("size: 4 is too small; never shown: size has a fault already"),
		errors.New("name: is wrong by default"),
		errors.New("routes.a.mode: is wrong too"),
		fmt.Errorf("not about a key: at all"),
	))
	want := Faults{
		{"stint.yaml", 2, 9, "sub.mode", "is odd", "make it even"},
		{"stint.yaml", 4, 3, "outs.push/a.endpoint", "missing", "give one"},
		{"stint.yaml", 5, 7, "size", `"banana" is not a whole number`, "give bytes, e.g. 4096"},
		{"default", 0, 0, "name", "is wrong by default", ""},
		{"--set routes.a.mode=b", 0, 0, "routes.a.mode", "is wrong too", ""},
		{"default", 0, 0, "", "not about a key: at all", ""},
	}
	if d := cmp.Diff(want, l.Faults()); d != "" {
		t.Errorf("faults (-want +got)\n%s", d)
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	v := defaults()
	l := New(&v, nil)
	l.File("/does/not/exist.yaml")
	l.File(t.TempDir())
	l.Data("big.yaml", make([]byte, maxFileBytes+1))
	if got := len(l.Faults()); got != 3 {
		t.Errorf("%d faults, want 3: %v", got, l.Faults())
	}
}

// TestBombs: files that are small and describe something huge cost little and are refused.
func TestBombs(t *testing.T) {
	aliases := "labels: &a0 {x: y}\n"
	for i := range 30 {
		aliases += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 10))
	}
	hidden := "files:\n"
	var b strings.Builder
	b.WriteString("globs: &g [" + strings.Repeat("x, ", 1000) + "]\nfiles:\n")
	for range 1000 {
		b.WriteString("- {include: *g}\n")
	}
	for name, text := range map[string]string{
		"aliases of aliases under unknown keys": aliases,
		"a million nodes by aliases":            b.String(),
		"deep nesting":                          "labels: " + strings.Repeat("{x: ", 9000) + strings.Repeat("}", 9000),
		"many unknown keys":                     manyKeys(50_000),
		"nothing":                               hidden + "- [",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, l := load(text, nil)
			if n := len(l.Faults()); n == 0 || n > 101 {
				t.Errorf("%d faults", n)
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "key%d: 1\n", i)
	}
	return b.String()
}
