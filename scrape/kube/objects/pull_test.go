package objects

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"stint/export/otlp"
	"stint/scrape/kube/follow"
	"stint/scrape/kube/replay"
)

// many puts n pods in two namespaces; lists have them in the order of their names.
func many(s *replay.Server, n int) {
	for i := range n {
		s.Put(replay.Pods, follow.Added, pod(fmt.Sprint("ns", 2*i/n), fmt.Sprintf("p%05d", i)))
	}
}

// each checks that the records are the pods from..to-1, once each, of one snapshot.
func each(t *testing.T, records []replay.Record, from, to int, consistent string) {
	t.Helper()
	if len(records) != to-from {
		t.Fatalf("%d records, want %d", len(records), to-from)
	}
	for i, r := range records {
		if want := fmt.Sprintf("p%05d", from+i); r.Attr("event.name") != want || r.Attr("k8s.snapshot.id") != records[0].Attr("k8s.snapshot.id") || r.Attr("k8s.snapshot.consistent") != consistent {
			t.Fatalf("record %d: %v, want %s, snapshot %s, consistent %s", i, r.Attributes, want, records[0].Attr("k8s.snapshot.id"), consistent)
		}
	}
	if id := records[0].Attr("k8s.snapshot.id"); len(id) != 16 {
		t.Errorf("snapshot %q", id)
	}
}

// TestPull: a page, then the next one when it is acknowledged; all again after the interval.
func TestPull(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	many(s, 1200)
	sink := replay.NewSink(t)
	sink.Hold()
	p := startWith(t, s.Client(t), sink, func(*Source) {}, Resource{Name: "pods", Interval: 2 * time.Second})
	for page, n := range []int{500, 1000, 1200} {
		p.Wait(n)
		until(t, "all of the page is out", func() bool { return p.src.emitterIdle() })
		if got := len(p.Records()); got != n || pages(s) != page+1 {
			t.Fatalf("page %d: %d records, %d pages asked for", page+1, got, pages(s))
		}
		if page == 1 {
			sink.Settle(-1, otlp.Dropped) // refused for good: counted there, gone on from here
			continue
		}
		sink.Settle(-1, otlp.Delivered)
	}
	first := p.Records()
	each(t, first, 0, 1200, "true")
	if r := first[0]; field(r.Body, "kind").GetStringValue() != "Pod" || field(r.Body, "apiVersion").GetStringValue() != "v1" || field(r.Body, "spec", "nodeName").GetStringValue() != "n" ||
		r.ResourceAttr("k8s.namespace.name") != "ns0" || first[1199].ResourceAttr("k8s.namespace.name") != "ns1" {
		t.Errorf("%v", r)
	}
	sink.Release()
	second := p.Wait(2400)[1200:]
	each(t, second, 0, 1200, "true")
	if second[0].Attr("k8s.snapshot.id") == first[0].Attr("k8s.snapshot.id") {
		t.Error("two pulls have one snapshot id")
	}
	p.end()
}

func (s *Source) emitterIdle() bool { s.emitter.Flush(); return true }

// pages is how many pages of pods were asked for.
func pages(s *replay.Server) (n int) {
	for _, r := range s.Requests() {
		if strings.HasPrefix(r, "GET /api/v1/pods?") || strings.Contains(r, "/pods?") {
			n++
		}
	}
	return n
}

// TestPullExpired: a token that expired is continued with the one that the server gives for it, and
// the snapshot says so.
func TestPullExpired(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	many(s, 1200)
	sink := replay.NewSink(t)
	sink.Hold()
	p := startWith(t, s.Client(t), sink, func(*Source) {}, Resource{Name: "pods"})
	p.Wait(500)
	s.Put(replay.Pods, follow.Added, pod("ns1", "p01200"))
	s.Compact()
	sink.Release()
	got := p.Wait(1201)
	p.end()
	each(t, got[:500], 0, 500, "true")
	each(t, got[500:], 500, 1201, "false")
}

// TestPullBreaksOff: the page is asked for again, and what was taken of it is not sent twice.
func TestPullBreaksOff(t *testing.T) {
	for _, n := range []int{1, 40_000} {
		s := replay.New(t)
		s.Have(replay.Pods)
		many(s, 700)
		s.Cut(n)
		p := start(t, s, Resource{Name: "pods"})
		got := p.Wait(700)
		until(t, "the pull is over", func() bool { return !strings.Contains(string(p.src.state()), "listing") })
		p.end()
		each(t, got, 0, 700, "true")
		if len(p.Records()) != 700 || pages(s) != 3 {
			t.Errorf("%d records, %d pages", len(p.Records()), pages(s))
		}
	}
}

// TestPullEnd: the last record of a pull says that it is complete, also of one without an object, and whether it is of one
// time.
func TestPullEnd(t *testing.T) {
	for _, n := range []int{0, 3, 700} {
		s := replay.New(t)
		s.Have(replay.Pods)
		many(s, n)
		sink := replay.NewSink(t)
		sink.Hold()
		p := startWith(t, s.Client(t), sink, func(*Source) {}, Resource{Name: "pods", PullEnd: true})
		consistent := "true"
		if n > 500 { // the token for the second page expires
			p.Wait(500)
			s.Put(replay.Pods, follow.Modified, pod("ns0", "p00001"))
			s.Compact()
			consistent = "false"
		}
		sink.Release()
		got := p.Wait(n + 1)
		p.end()
		end := got[n]
		if end.EventName != "stint.pull.end" || end.Attr("k8s.resource.name") != "pods" || end.Attr("k8s.snapshot.consistent") != consistent || len(end.Attr("k8s.snapshot.id")) != 16 {
			t.Errorf("%v", end)
		}
		if n > 0 && end.Attr("k8s.snapshot.id") != got[0].Attr("k8s.snapshot.id") {
			t.Errorf("%v ends %v", end, got[0].Attributes)
		}
		if m := len(p.Records()); m != n+1 {
			t.Errorf("%d records, want %d", m, n+1)
		}
	}
}

// TestBreaksOffAndAway: the rest of a page comes from the same list, though the server was away when it was asked for
// first and what had been taken of it is gone.
func TestBreaksOffAndAway(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	many(s, 100)
	s.Cut(10_000)
	lists := func() (n int) {
		for _, r := range s.Requests() {
			if strings.HasPrefix(r, "GET /api/v1/pods?") {
				n++
			}
		}
		return n
	}
	p := start(t, s, Resource{Name: "pods"})
	until(t, "the list broke off", func() bool { return lists() == 1 })
	s.Down(true)
	p.Wait(1)
	for i := range 3 {
		s.Put(replay.Pods, follow.Deleted, pod("ns0", fmt.Sprintf("p%05d", i)))
	}
	until(t, "it was asked for while the server was away", func() bool { return lists() >= 2 })
	s.Down(false)
	got := p.Wait(100)
	p.end()
	each(t, got, 0, 100, "true")
}

// TestPullStalls: an answer that comes to a standstill is given up and asked for again.
func TestPullStalls(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	many(s, 700)
	s.Stall(40_000)
	p := startWith(t, s.Client(t), replay.NewSink(t), func(src *Source) { src.idle = 300 * time.Millisecond }, Resource{Name: "pods"})
	got := p.Wait(700)
	p.end()
	each(t, got, 0, 700, "true")
}

// TestBackpressure: with room for one slab and nothing acknowledged, several kinds wait, and none waits
// for another for ever.
func TestBackpressure(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	padding := strings.Repeat("x", 100<<10)
	for i := range 40 {
		s.Put(replay.Pods, follow.Added, strings.Replace(pod(fmt.Sprint("ns", i%4), fmt.Sprint("p", i)), `"spec":{`, `"spec":{"a":"`+padding+`",`, 1))
	}
	sink := replay.NewSink(t)
	sink.Hold()
	sink.Limit(otlp.SlabSize)
	p := startWith(t, s.Client(t), sink, func(*Source) {}, Resource{Name: "pods", Mode: "watch", Initial: "changed", Namespaces: []string{"ns0", "ns1", "ns2", "ns3"}}, Resource{Name: "pods"})
	p.Wait(3)
	if n := len(p.Records()); n > 4 {
		t.Errorf("%d records of 100 KiB in %d bytes", n, otlp.SlabSize)
	}
	for len(p.Records()) < 80 {
		until(t, "something is held", func() bool { return sink.Held() > 0 || len(p.Records()) == 80 })
		sink.Settle(-1, otlp.Delivered)
	}
	sink.Release()
	p.end()
	if n := len(p.Records()); n != 80 {
		t.Errorf("%d records", n)
	}
}

// TestPullRestart: a pull that was under way is ended by the next process: the page that was not
// acknowledged comes again, the ones before do not. And it does not begin a new one before its time.
func TestPullRestart(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	many(s, 1200)
	sink := replay.NewSink(t)
	sink.Hold()
	p := startWith(t, s.Client(t), sink, func(*Source) {}, Resource{Name: "pods"})
	p.Wait(500)
	sink.Settle(-1, otlp.Delivered)
	p.Wait(1000)
	p.end()
	first := p.Records()
	p = start(t, s, Resource{Name: "pods"})
	got := p.Wait(700)
	each(t, got, 500, 1200, "true")
	if got[0].Attr("k8s.snapshot.id") != first[0].Attr("k8s.snapshot.id") {
		t.Error("another snapshot")
	}
	until(t, "the pull is over", func() bool { return !strings.Contains(string(p.src.state()), "listing") })
	p.end()
	asked := pages(s)
	p = start(t, s, Resource{Name: "pods"}, Resource{Name: "pods", LabelSelector: "a", Namespaces: []string{"ns1"}})
	p.Wait(600) // the second of them
	p.end()
	if len(p.Records()) != 600 || pages(s) != asked+2 {
		t.Errorf("%d records, %d pages", len(p.Records()), pages(s)-asked)
	}
}

// TestSecrets: the data of a Secret leaves in no form, whatever is configured.
func TestSecrets(t *testing.T) {
	for _, mode := range []string{"pull", "watch"} {
		s := replay.New(t)
		secrets := follow.Resource{Version: "v1", Name: "secrets", Kind: "Secret", Namespaced: true, Watchable: true}
		s.Have(secrets)
		s.Put(secrets, follow.Added, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s","namespace":"x","uid":"`+uidFor("s")+`","resourceVersion":"VERSION",
			"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"data\":{\"password\":\"aHVudGVyMg==\"}}","note":"kept"}},
			"data":{"password":"aHVudGVyMg=="},"stringData":{"password":"hunter2"},"\u0064ata":{"x":"aHVudGVyMg=="},"type":"Opaque"}`)
		r := Resource{Name: "secrets", Mode: mode}
		if mode == "watch" {
			r.Initial = "all"
		}
		p := startWith(t, s.Client(t), replay.NewSink(t), func(src *Source) {
			src.cfg.Drop = nil // the default would leave the annotation out, too
		}, r)
		got := p.Wait(1)[0]
		p.end()
		if text := got.String(); strings.Contains(text, "hunter2") || strings.Contains(text, "aHVudGVyMg") || !strings.Contains(text, "kept") || !strings.Contains(text, "Opaque") {
			t.Errorf("%s: %s", mode, text)
		}
	}
}

// TestLargeObject: what is over 1 MiB is cut and says so.
func TestLargeObject(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	big := strings.Replace(pod("x", "big"), `"spec":{`, `"spec":{"a":"`+strings.Repeat("é", 1<<20)+`",`, 1)
	s.Put(replay.Pods, follow.Added, big)
	s.Put(replay.Pods, follow.Added, pod("x", "small"))
	p := start(t, s, Resource{Name: "pods"})
	got := p.Wait(2)
	p.end()
	if r := got[0]; r.Attr("stint.truncated") != "true" || r.Attr("event.name") != "big" || math.Abs(float64(len(field(r.Body, "spec", "a").GetStringValue())-maxBody)) > 1000 {
		t.Errorf("%s, %d bytes", r.Attributes, len(field(r.Body, "spec", "a").GetStringValue()))
	}
	if got[1].Attr("stint.truncated") != "" || got[1].Attr("event.name") != "small" {
		t.Errorf("%v", got[1])
	}
}

// TestKinds: custom resources, kinds that come and go, groups that are broken, and what is not allowed.
func TestKinds(t *testing.T) {
	widgets := follow.Resource{Group: "shop.example.com", Version: "v1beta1", Name: "widgets", Kind: "Widget", Watchable: true}
	widget := func(name string) string {
		return fmt.Sprintf(`{"apiVersion":"shop.example.com/v1beta1","kind":"Widget","metadata":{"name":%q,"uid":%q,"resourceVersion":"VERSION"},"spec":{"n":1.5}}`, name, uidFor(name))
	}
	s := replay.New(t)
	s.Break("metrics.k8s.io")
	s.Have(replay.Pods, follow.Resource{Version: "v1", Name: "nodes", Kind: "Node", Watchable: true})
	s.Forbid("nodes", true)
	p := start(t, s, watchPods, Resource{Name: "widgets", Mode: "watch", Initial: "changed"}, Resource{Name: "nodes"})
	watching(t, s)
	s.Put(replay.Pods, follow.Added, pod("x", "a"))
	p.Wait(1)
	until(t, "the missing kind is reported", func() bool { return strings.Contains(p.log.String(), "no such kind of object") })
	until(t, "the rule is reported", func() bool {
		return strings.Contains(p.log.String(), `rule="{apiGroups: [\"\"], resources: [nodes], verbs: [list, watch]} in a ClusterRole"`)
	})
	if !strings.Contains(p.log.String(), "metrics.k8s.io") {
		t.Errorf("nothing about the broken group:\n%s", p.log)
	}
	s.Have(widgets)
	s.Put(widgets, follow.Added, widget("w"))
	got := p.Wait(2)
	if r := got[1]; r.Attr("k8s.object.kind") != "Widget" || len(r.Resource) != 0 || field(r.Body, "object", "spec", "n").GetDoubleValue() != 1.5 {
		t.Errorf("%v", r)
	}
	s.Forget(widgets)
	until(t, "it is missed again", func() bool { return strings.Count(p.log.String(), "no such kind of object") >= 2 })
	s.Have(widgets)
	s.Put(widgets, follow.Added, widget("v"))
	got = p.Wait(3)
	p.end()
	if names(got[2:]) == "" || !strings.HasPrefix(names(got[2:]), "+v@") || len(p.Records()) != 3 {
		t.Errorf("%s", names(p.Records()))
	}
	if n := strings.Count(p.log.String(), "rule="); n != 1 {
		t.Errorf("the rule is reported %d times:\n%s", n, p.log)
	}
}

// TestJustStarted: a server that does not know its roles yet is asked again at once, without a word.
func TestJustStarted(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	many(s, 2)
	s.Forbid("pods", true)
	p := start(t, s, Resource{Name: "pods"})
	until(t, "it was refused", func() bool { return pages(s) > 0 })
	s.Forbid("pods", false)
	p.Wait(2)
	p.end()
	if strings.Contains(p.log.String(), "rule") {
		t.Errorf("%s", p.log)
	}
}

// TestWhich: namespaces, types and fields that are wanted.
func TestWhich(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	for _, ns := range []string{"a", "b", "kube-system", "kube-public"} {
		s.Put(replay.Pods, follow.Added, pod(ns, "p"))
	}
	count := func(r Resource, n int) string {
		p := start(t, s, r)
		got := p.Wait(n)
		until(t, "it is over", func() bool {
			state := string(p.src.state())
			return !strings.Contains(state, "listing") && strings.Contains(state, "{")
		})
		p.end()
		if len(p.Records()) != n {
			t.Errorf("%v: %s", r, names(p.Records()))
		}
		var all []string
		for _, r := range got {
			all = append(all, r.ResourceAttr("k8s.namespace.name"))
		}
		return strings.Join(all, " ")
	}
	if got := count(Resource{Name: "pods", ExcludeNamespaces: []string{"kube-*"}, LabelSelector: "a=b,c!=d", FieldSelector: "status.phase=Running"}, 2); got != "a b" {
		t.Error(got)
	}
	if r := s.Requests(); !strings.Contains(strings.Join(r, " "), "/api/v1/pods?fieldSelector=status.phase%3DRunning&labelSelector=a%3Db%2Cc%21%3Dd&limit=500") {
		t.Errorf("%v", r)
	}
	if got := count(Resource{Name: "pods", Namespaces: []string{"b"}}, 1); got != "b" {
		t.Error(got)
	}
	p := start(t, s, Resource{Name: "pods", Mode: "watch", ExcludeWatchType: []string{"MODIFIED", "DELETED"}, Drop: []string{"spec.nodeName"}})
	watching(t, s)
	s.Put(replay.Pods, follow.Modified, pod("a", "p"))
	s.Put(replay.Pods, follow.Deleted, pod("a", "p"))
	last := s.Put(replay.Pods, follow.Added, pod("c", "p"))
	got := p.Wait(1)
	settledAt(t, p, last)
	p.end()
	if names(p.Records()) != "+p@"+last || field(got[0].Body, "object", "spec", "nodeName") != nil || field(got[0].Body, "object", "spec") == nil {
		t.Errorf("%s: %v", names(p.Records()), got[0].Body)
	}
}
