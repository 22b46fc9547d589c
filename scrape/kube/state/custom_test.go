package state

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"stint/export/otlp"
	"stint/scrape/kube/follow"
	"stint/scrape/kube/replay"
)

// certificates are what many clusters have of cert-manager.
var certificates = CustomResource{Name: "certificates", Group: "cert-manager.example.org", Metrics: []CustomMetric{
	{Name: "expiration_time", Path: "status.notAfter", Unit: "s"},
	{Name: "condition", Path: "status.conditions[*].status", Type: "state", Attributes: map[string]string{"condition": "status.conditions[*].type", "issuer": "spec.issuerRef.name"}},
	{Name: "ready", Path: "status.conditions[type=Ready].status", Values: map[string]float64{"Unknown": -1}},
	{Name: "cpu", Path: "spec.resources[example.org/cpu]", Type: "updowncounter", Unit: "{cpu}"},
	{Name: "paused", Path: "spec.paused"},
	{Name: "info", Type: "info", Attributes: map[string]string{"issuer": "spec.issuerRef.name", "revision": "status.revision"}},
	{Name: "port", Path: "spec.hosts[*].ports[*].number", Attributes: map[string]string{"host": "spec.hosts[*].name", "port": "spec.hosts[*].ports[*].name"}},
}}

const certificate = `{"apiVersion":"cert-manager.example.org/v1","kind":"Certificate","metadata":{"name":"web","namespace":"shop","uid":"00000000-0000-4000-8000-000000000001","resourceVersion":"VERSION","creationTimestamp":"2026-11-22T15:00:00Z"},
"spec":{"issuerRef":{"name":"acme"},"resources":{"example.org/cpu":"250m"},"paused":true,"hosts":[{"name":"a","ports":[{"name":"web","number":80},{"name":"tls","number":443}]},{"name":"b"},{"name":"c","ports":[{"number":1.5}]}]},
"status":{"notAfter":"2027-02-01T00:00:00Z","revision":3,"conditions":[{"type":"Issuing","status":"False"},{"type":"Ready","status":"READY"}]}}`

// customRig is a source of custom resources before a replayed server.
func customRig(t *testing.T, cfg Config) (*rig, *replay.Server) {
	t.Helper()
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	server := replay.New(t)
	_, r := newSource(t, cfg, server.URL, nil)
	r.Source.kinds = slices.DeleteFunc(r.Source.kinds, func(k *kind) bool { return k.custom == nil })
	return r, server
}

func crd(c *CustomResource, version string) follow.Resource {
	return follow.Resource{Group: c.Group, Version: version, Name: c.Name, Kind: "Certificate", Namespaced: true, Watchable: true}
}

// Fields of every kind become points; a CRD that goes closes them, and one that comes is found.
func TestCustomResource(t *testing.T) {
	cfg := Defaults()
	cfg.CustomResources = []CustomResource{certificates}
	r, server := customRig(t, cfg)
	v1 := crd(&certificates, "v1")
	server.Have(v1)
	server.Put(v1, follow.Added, strings.ReplaceAll(certificate, "READY", "True"))
	r.start()
	f := r.interval()
	of := func(name string) []string {
		return f.of("k8s.customresource."+name, "k8s.certificate.name=web", "k8s.certificate.uid=00000000-0000-4000-8000-000000000001", "k8s.namespace.name=shop")
	}
	want(t, "a time", of("expiration_time"), "{} 1.80144e+09d")
	want(t, "conditions", of("condition"), "{status=True condition=Ready issuer=acme} 1", "{status=False condition=Issuing issuer=acme} 1")
	want(t, "the condition of a type", of("ready"), "{} 1d")
	want(t, "a quantity", of("cpu"), "{} 0.25d")
	want(t, "a truth", of("paused"), "{} 1d")
	want(t, "info", of("info"), "{issuer=acme revision=3} 1")
	want(t, "elements in elements", of("port"), "{host=c} 1.5d", "{host=a port=tls} 443d", "{host=a port=web} 80d")

	server.Put(v1, follow.Modified, strings.ReplaceAll(strings.ReplaceAll(certificate, "READY", "Unknown"), `"250m"`, `"a lot"`))
	r.until("the change is seen", func() bool { f = r.interval(); return slices.Equal(of("ready"), []string{"{} -1d"}) })
	if n := counted(t, r.metrics.leftOut.WithLabelValues("type")); n != 1 {
		t.Errorf("%v values left out for their type, want 1", n)
	}

	server.Forget(v1)
	r.until("the CRD's end is seen", func() bool { f = r.interval(); return len(of("paused")) > 0 && of("paused")[0] == "{} ends" })
	want(t, "a state that ends", of("condition"), "{status=False condition=Issuing issuer=acme} 0", "{status=Unknown condition=Ready issuer=acme} 0")
	f = r.interval()
	want(t, "what has ended", of("paused"))
	r.until("it is said", func() bool { return strings.Contains(r.logged.String(), "does not have a kind of object") })

	v2 := crd(&certificates, "v2") // the next version of the same CRD
	server.Have(v2)
	server.Put(v2, follow.Added, strings.ReplaceAll(strings.ReplaceAll(certificate, "READY", "True"), "example.org/v1", "example.org/v2"))
	r.until("the CRD is found again", func() bool { f = r.interval(); return len(of("paused")) == 1 })
	if n := strings.Count(r.logged.String(), "does not have a kind of object"); n != 1 {
		t.Errorf("said %d times:\n%s", n, r.logged)
	}
}

// A rule that is missing is named once, with the plural.
func TestCustomForbidden(t *testing.T) {
	cfg := Defaults()
	cfg.CustomResources = []CustomResource{certificates}
	r, server := customRig(t, cfg)
	v1 := crd(&certificates, "v1")
	server.Have(v1)
	server.Forbid("certificates", true)
	server.Put(v1, follow.Added, strings.ReplaceAll(certificate, "READY", "True"))
	r.term = r.newTerm()
	r.begin()
	r.until("it is said", func() bool { return strings.Contains(r.logged.String(), "not allowed to read") })
	if rule := `{apiGroups: [\"cert-manager.example.org\"], resources: [certificates], verbs: [list, watch]}`; strings.Count(r.logged.String(), rule) != 1 {
		t.Errorf("the rule %s is not said once:\n%s", rule, r.logged)
	}
	server.Forbid("certificates", false)
	r.until("it is read", func() bool { return r.term.stores[0].size() == 1 })
}

// What an object and a kind may have is bounded; the rest is counted.
func TestCustomLimits(t *testing.T) {
	cfg := Defaults()
	cfg.CustomResources = []CustomResource{{Name: "lists", Group: "example.org", Metrics: []CustomMetric{{Name: "n", Path: "list[*]"}}}}
	s, r := newSource(t, cfg, "http://127.0.0.1:1", nil)
	st := s.newTerm().byKind["lists.example.org"][0]
	object := func(n, points int) *unstructured.Unstructured {
		list := make([]any, points)
		for i := range list {
			list[i] = fmt.Sprint(i)
		}
		return &unstructured.Unstructured{Object: map[string]any{"kind": "List", "apiVersion": "example.org/v1", "list": list, "metadata": map[string]any{"name": fmt.Sprint(n), "uid": uid(n)}}}
	}
	// Points without attributes are one series: the last counts.
	if err := st.Add(object(0, 1000)); err != nil || st.series != 1 {
		t.Fatal(err, st.series)
	}
	left := func() float64 { return counted(t, s.metrics.leftOut.WithLabelValues("limit")) }
	if st.Update(object(0, 1001)); left() != 1 {
		t.Errorf("%v over the limit of an object, want 1", left())
	}
	st.mu.Lock()
	st.series = maxKindSeries - 1 // as if there were so many others
	st.mu.Unlock()
	st.Add(object(1, 1))
	st.Add(object(2, 1))
	st.Add(object(3, 1))
	if left() != 3 || st.series != maxKindSeries || strings.Count(r.logged.String(), "more series than are sent") != 1 {
		t.Errorf("%v left out, %d series, logged %s", left(), st.series, r.logged)
	}
	st.Delete(object(1, 1))
	if st.Update(object(3, 1)); left() != 3 || st.series != maxKindSeries {
		t.Errorf("where one went another one has no room: %v left out, %d series", left(), st.series)
	}
}

func TestCustomFaults(t *testing.T) {
	c := Defaults()
	long := map[string]string{}
	for i := range maxCustomAttributes + 1 {
		long[fmt.Sprintf("a%02d", i)] = "spec.x"
	}
	c.CustomResources = []CustomResource{
		{Name: "Things", Group: "x/v1"},
		{Name: "things", Group: "x.org", Metrics: []CustomMetric{
			{Name: "Size", Path: "spec..size"},
			{Name: "size", Type: "histogram"},
			{Name: "size", Path: "spec.list[*].n", Unit: "By", Attributes: map[string]string{"a": "spec.list[*].name", "b": "spec.other[*].name", "c": "spec["}},
			{Name: "phase", Path: "status.list[*]", Type: "state", Values: map[string]float64{"a": 1}},
			{Name: "one", Path: "status[=x]", Attributes: long},
			{Name: "status", Path: "status.phase", Type: "state", Attributes: map[string]string{"phase": "status.x"}},
		}},
		{Name: "things", Group: "x.org", Metrics: []CustomMetric{{Name: "status", Path: "a"}}},
	}
	var got []string
	for _, line := range strings.Split(c.Check().Error(), "\n") {
		got = append(got, strings.TrimPrefix(line, "state.custom_resources"))
	}
	if want := []string{
		`[0].name: "Things" is no resource; give its plural name, as kubectl api-resources has it, e.g. certificates`,
		`[0].group: "x/v1" is no group; give e.g. cert-manager.io, and the version in version`,
		`[0].metrics: there are 0; give 1 to 100`,
		`[1].metrics[0].name: "Size" is no name; give small letters, digits, _ and . such as expiration_time`,
		`[1].metrics[0].path: "spec..size" is not a path; write it like metadata.annotations[example.com/note] or spec.containers[*].env`,
		`[1].metrics[1].type: "histogram" is not known; give one of gauge, updowncounter, info, state`,
		`[1].metrics[1].path: empty; give a field, e.g. status.replicas`,
		`[1].metrics[2].name: "size" stands there twice; give each a name of its own`,
		`[1].metrics[2]: a gauge in By, and state.custom_resources[1].metrics[1] has that name as a histogram in 1; give it another name`,
		`[1].metrics[2].attributes.b: "spec.other[*].name" has a [*] that path has not; write it as path does up to there`,
		`[1].metrics[2].attributes.c: "spec[" is not a path; write it like metadata.annotations[example.com/note] or spec.containers[*].env`,
		`[1].metrics[3].path: "status.list[*]" ends with an element; a state is a text in it, e.g. status.list[*].status`,
		`[1].metrics[3].values: are for gauge and updowncounter, this is state; leave them out`,
		`[1].metrics[4].path: "status[=x]" has a filter without key or text; write it like status.conditions[type=Ready].status`,
		`[1].metrics[4].attributes: 17 of at most 16`,
		`[1].metrics[5].attributes.phase: is no name, or that of the state itself; give another one`,
		`[2]: the same kind as state.custom_resources[1]; put the metrics together`,
		`[2].metrics[0]: a gauge in 1, and state.custom_resources[1].metrics[5] has that name as a state in 1; give it another name`,
	}; !slices.Equal(got, want) {
		t.Errorf("faults\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestFieldNumber(t *testing.T) {
	for text, want := range map[string]float64{
		`5`: 5, `-1.5`: -1.5, `true`: 1, `false`: 0, `"True"`: 1, `"false"`: 0, `"250m"`: 0.25, `"1Gi"`: 1 << 30, `"17"`: 17, `"2026-11-22T15:50:00.5Z"`: 1795362600.5, `"Good"`: 7,
		`"Bad"`: math.NaN(), `""`: math.NaN(), `[1]`: math.NaN(), `{"a":1}`: math.NaN(), `null`: math.NaN(),
	} {
		var v any
		if err := json.Unmarshal([]byte(`{"v":`+text+`}`), &v); err != nil {
			t.Fatal(err)
		}
		got, ok := fieldNumber(v.(map[string]any)["v"], map[string]float64{"Good": 7})
		if !ok {
			got = math.NaN()
		}
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
}

// Whatever a CRD allows, the points are sound: as many as were counted, no series twice.
func FuzzCustomRow(f *testing.F) {
	f.Add(certificate, "status.conditions[*].status", "status.conditions[*].type")
	f.Add(`{"kind":"X","a":[[1,2],[3]]}`, "a[*][*]", "a[*]")
	cfg := Defaults()
	pool := otlp.NewPool(64<<20, nil)
	f.Fuzz(func(t *testing.T, text, path, attribute string) {
		u := &unstructured.Unstructured{}
		if json.Unmarshal([]byte(text), &u.Object) != nil || u.Object == nil {
			return
		}
		all, fields := slices.Clip(table), []*fieldMetric(nil)
		for _, typ := range []string{"gauge", customUp, customInfo, customState} {
			m := CustomMetric{Name: typ, Path: path, Type: typ, Attributes: map[string]string{"x": attribute}}
			c, err := m.compile()
			if err != nil {
				continue
			}
			c.id = metricID(len(all))
			all, fields = append(all, m.metric("custom")), append(fields, c)
		}
		on, forms := make([]bool, len(all)), make([][]otlp.Head, len(all))
		for i := range all {
			on[i], forms[i] = true, []otlp.Head{otlp.NewHead(all[i].Metric)}
		}
		row := customRows(fields, func(string) {})(&builder{cfg: &cfg, on: on, all: all, off: cfg.without()}, u)
		seen := map[string]bool{}
		for p := row.points; p != ""; {
			var pt packedPoint
			if pt, p = nextPoint(p); seen[pt.id] {
				t.Fatalf("a series twice in %q", row.points)
			}
			seen[pt.id] = true
		}
		n := 0
		e := encoder{all: all, forms: forms, off: cfg.without(), scope: otlp.NewGroup(nil, otlp.SchemaURL, scopeName, ""), pool: pool, now: uint64(time.Now().UnixNano()), top: func(o ownerHandle) ownerHandle { return o },
			out: func(c *otlp.Chunk) {
				request := append(c.Group.AppendFrame(nil, len(c.Data)), c.Data...)
				if got, err := otlp.Count(otlp.Metrics, request); err != nil || got != c.Records {
					t.Errorf("%d points, said to be %d: %v", got, c.Records, err)
				}
				n += c.Records
				c.Settle(otlp.Delivered)
			}}
		defer e.release()
		if err := e.send(t.Context(), &slot{row: row}); err != nil {
			t.Fatal(err)
		}
		e.flush()
		if n != len(seen) || n > len(fields)*maxObjectSeries {
			t.Errorf("%d points sent of %d", n, len(seen))
		}
	})
}
