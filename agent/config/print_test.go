package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func full() all {
	a := defaults()
	a.Name = "$${env:X} * \"q\"\n\u2028 é 日本"
	a.On, a.Count, a.Rate, a.Every = true, 7, 1e21, 90*time.Minute
	a.Globs = []string{"*/x", "true", "", "a b", "/p", strings.Repeat("long", 40)}
	a.Sizes = []int{1, -2}
	a.Password = "hunter2"
	a.Headers = map[string]secret{"b": "hunter3", "a.x y": "hunter4"}
	a.Labels = map[string]string{"null": "~", "": "-", "x": "yes"}
	a.Maybe = &sub{Mode: "x"}
	a.Files = append(a.Files, files{Format: "plain"})
	a.Routes = map[string]sub{"z": {}, "a": {1, "m"}}
	a.Outs = outs{"push/a": &push{Endpoint: "h:1", Headers: map[string]secret{"k": "hunter5"}}, "show": &show{Loud: true}}
	return a
}

func TestPrintedLoadsToTheSame(t *testing.T) {
	for name, docs := range map[string]bool{"plain": false, "with docs": true} {
		t.Run(name, func(t *testing.T) {
			text := Append(nil, full(), Style{Reveal: true, Docs: docs})
			got, l := load(string(text), nil)
			if len(l.Faults()) > 0 {
				t.Fatalf("faults:\n%v\nin\n%s", l.Faults(), text)
			}
			if d := cmp.Diff(full(), got); d != "" {
				t.Errorf("(-want +got)\n%s\n%s", d, text)
			}
		})
	}
}

func TestSecretsAreMasked(t *testing.T) {
	text := string(Append(nil, full(), Style{}))
	if strings.Contains(text, "hunter") || strings.Count(text, `"***"`) != 4 {
		t.Errorf("printed:\n%s", text)
	}
}

// A secret in the query of a URL is masked by its name; all else of the URL is shown.
func TestSecretsInURLsAreMasked(t *testing.T) {
	for text, want := range map[string]string{
		"https://a/x?api_key=hunter2&_time_field=@t": "https://a/x?api_key=***&_time_field=@t",
		"https://a/x?b=c&Access-Token=hunter2":       "https://a/x?b=c&Access-Token=***",
		"https://a/x?token=hunter2&key=hunter3":      "https://a/x?token=***&key=***",
		"https://a/x?token=hunter2#f":                "https://a/x?token=***#f",
		"https://a/x?_msg_field=key&n=1":             "https://a/x?_msg_field=key&n=1",
		"key=hunter2":                                "key=hunter2",
	} {
		c := full()
		c.Name = text
		if got := string(Append(nil, c, Style{})); !strings.Contains(got, want) {
			t.Errorf("%s is printed as %s", text, got)
		}
		if got := string(Append(nil, c, Style{Reveal: true})); !strings.Contains(got, text) {
			t.Errorf("%s is revealed as %s", text, got)
		}
	}
}

func TestExplain(t *testing.T) {
	got, l := load("name: nd\nglobs: [a, b]\nsub:\n  mode: m\nouts:\n  show:\nfiles:\n- include: [x]\n",
		[]string{"STINT_SIZE=7"}, "every=1s", "globs[1]=c", "password=p")
	if len(l.Faults()) > 0 {
		t.Fatal(l.Faults())
	}
	want := `name: nd  # from stint.yaml:1:7
"on": false  # from default
size: 7  # from env STINT_SIZE
count: 0  # from default
rate: 0  # from default
every: 1s  # from --set
format: auto  # from default
globs:
  - a  # from stint.yaml:2:9
  - c  # from --set
sizes: []  # from default
password: "***"  # from --set
headers: {}  # from default
labels: {}  # from default
sub:
  max_line_bytes: 1048576  # from default
  mode: m  # from stint.yaml:4:9
files:
  - include: [x]  # from stint.yaml:8:12
    format: auto  # from default
routes: {}  # from default
outs:
  show:
    loud: false  # from default
lines:
  mode: "off"  # from default
  start: ""  # from default
`
	if d := cmp.Diff(want, string(Append(nil, &got, Style{Origin: l.Origin}))); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestSettings(t *testing.T) {
	var got []string
	for _, s := range Settings(defaults()) {
		got = append(got, strings.Join([]string{s.Path, s.Type, s.Default, s.Unit}, "|"))
	}
	want := []string{
		"name|text|node|", "on|true or false|false|", "size|whole number|4096|bytes", "count|whole number|0|records",
		"rate|number|0|", "every|duration|5s|", "format|auto, cri, docker or plain|auto|", `globs|list of text|["a*"]|`,
		"sizes|list of whole number|[]|bytes", `password|secret text|"***"|`, "headers|map of secret text|{}|", "labels|map of text|{}|",
		"sub|sections||", "sub.max_line_bytes|whole number|1048576|bytes", `sub.mode|text|""|`,
		"maybe|sections||", "maybe.max_line_bytes|whole number|0|bytes", `maybe.mode|text|""|`,
		"files|list of sections|[{include: [/var/log/syslog], format: auto}]|", "files[].include|list of text|[]|", "files[].format|auto or plain|auto|",
		"routes|map of sections|{}|", "routes.NAME.max_line_bytes|whole number|0|bytes", `routes.NAME.mode|text|""|`,
		"outs|map of sections|{}|", "outs.push|||", `outs.push.endpoint|text|""|`, "outs.push.timeout|duration|10s|", "outs.push.headers|map of secret text|{}|",
		"outs.show|||", "outs.show.loud|true or false|false|",
		"lines|sections||", `lines.mode|off or auto|"off"|`, `lines.start|text|""|`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// FuzzLoad: whatever the file, loading ends; each fault has a line or an origin; and what loads is
// printed as something that loads to the same.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"", "# c\n", "name: a\nsub: {mode: x}\n", "files: [{include: [a, b], format: plain}]\nouts: {push/a: {headers: {k: v}}, show: }",
		"size: 4MiB\nsiez: 1\non: yes", "sub: &s {mode: x}\nmaybe: *s", "labels: &a {x: *a}", "name: ${env:N}-$$ ${env:X:-y} ${file:/dev/null}",
		"a: b: c", "globs: [*/x]", "---\nsize: 1\n---\n", "\xff", "\tx", "name: |\n  a\n  b\n", "name: \"\\x00\\u2028\\U0001F600\"", "? [a]\n: b", "<<: {size: 1}",
		"name: !!binary aGk=", "every: 1h0m0.5s\nrate: 1e400\ncount: -1", "labels: {'a.b[0]\"=': \"$${\"}", string(Append(nil, full(), Style{Reveal: true})),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			return
		}
		env := []string{"N=64", "SECRET=\xff"}
		v := defaults()
		l := New(&v, env)
		l.Data("f.yaml", []byte(text))
		for _, f := range l.Faults() {
			if f.File == "" || f.File == "f.yaml" && f.Line == 0 || f.Msg == "" {
				t.Errorf("fault without place: %+v", f)
			}
		}
		if len(l.Faults()) > 0 {
			return
		}
		for _, style := range []Style{{Reveal: true}, {Reveal: true, Docs: true, Origin: l.Origin}} {
			printed := Append(nil, v, style)
			again := defaults()
			m := New(&again, env)
			m.Data("g.yaml", printed)
			if len(m.Faults()) > 0 {
				t.Fatalf("faults in what was printed:\n%v\n%s", m.Faults(), printed)
			}
			if d := cmp.Diff(v, again); d != "" {
				t.Fatalf("loads differently (-first +again)\n%s\n%s", d, printed)
			}
		}
	})
}

// FuzzSet: the same for the text of --set.
func FuzzSet(f *testing.F) {
	for _, seed := range []string{"size=1", "sub.mode=x", "files[0].include=[a]", `labels."a.b"=c`, "outs.push/a.timeout=1s", "globs=[*/x]", "a", "a.=", "[0]=", "files[1]={}", "x[", `"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		v := defaults()
		l := New(&v, nil)
		l.Set(arg)
		for _, f := range l.Faults() {
			if !strings.HasPrefix(f.File, "--set") || f.Line != 0 {
				t.Errorf("fault without origin: %+v", f)
			}
		}
		if len(l.Faults()) == 0 {
			again := defaults()
			m := New(&again, nil)
			printed := Append(nil, v, Style{Reveal: true})
			m.Data("g.yaml", printed)
			if d := cmp.Diff(v, again); d != "" || len(m.Faults()) > 0 {
				t.Fatalf("%v (-first +again)\n%s\n%s", m.Faults(), d, printed)
			}
		}
	})
}
