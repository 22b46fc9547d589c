package objects

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"stint/export/otlp"
	"stint/scrape/kube/follow"
	"stint/scrape/kube/replay"
)

var watchPods = Resource{Name: "pods", Mode: "watch", Initial: "changed"}

// settledAt waits until the one kind that is followed is acknowledged up to a version.
func settledAt(t testing.TB, p *process, version string) {
	t.Helper()
	until(t, "the checkpoint is at "+version, func() bool {
		var state map[string]follow.Position
		return json.Unmarshal(p.src.state(), &state) == nil && len(state) == 1 && !state[watchPods.key("")].Listing && !follow.Newer(version, state[watchPods.key("")].Version)
	})
}

// TestWatch: what happens, in order, with what is there in the beginning according to initial.
func TestWatch(t *testing.T) {
	for initial, want := range map[string]string{
		"none":    "+c@4 ~a@5 -b@6",
		"":        "+c@4 ~a@5 -b@6",
		"changed": "+a@2 +b@3 +c@4 ~a@5 -b@6",
		"all":     "+a@2 +b@3 +c@4 ~a@5 -b@6",
	} {
		t.Run("initial="+initial, func(t *testing.T) {
			s := replay.New(t)
			s.Have(replay.Pods)
			s.Put(replay.Pods, follow.Added, pod("x", "a"))
			s.Put(replay.Pods, follow.Added, pod("y", "b"))
			s.SetMap("stint-cluster-objects", nil)
			p := start(t, s, Resource{Name: "pods", Mode: "watch", Initial: initial})
			until(t, "the watch runs", func() bool {
				return slices.ContainsFunc(s.Requests(), func(r string) bool { return strings.Contains(r, "watch=true") })
			})
			base := s.Version() // the checkpoint takes versions, too
			s.Put(replay.Pods, follow.Added, pod("x", "c"))
			s.Put(replay.Pods, follow.Modified, pod("x", "a"))
			s.Put(replay.Pods, follow.Deleted, pod("y", "b"))
			got := p.Wait(strings.Count(want, " ") + 1)
			p.end()
			if n := len(p.Records()); n != len(got) {
				t.Errorf("%d records more", n-len(got))
			}
			if base < 3 {
				t.Fatal(base)
			}
			plain := func(s string) string { // without versions, which the checkpoint's writes shift
				var b []string
				for _, w := range strings.Fields(s) {
					b = append(b, w[:2])
				}
				return strings.Join(b, " ")
			}
			if plain(names(got)) != plain(want) {
				t.Errorf("%s, want %s", names(got), want)
			}
			last := got[len(got)-1]
			if last.ResourceAttr("k8s.namespace.name") != "y" || last.Attr("k8s.resource.name") != "pods" || last.Attr("event.domain") != "k8s" ||
				last.Attr("k8s.object.kind") != "Pod" || last.Attr("k8s.object.uid") != uidFor("y/b") || last.Attr("stint.leader.term") != "1" {
				t.Errorf("%v", last)
			}
			if field(last.Body, "object", "spec", "nodeName").GetStringValue() != "n" || field(last.Body, "object", "kind").GetStringValue() != "Pod" {
				t.Errorf("%v", last.Body)
			}
		})
	}
}

// watching waits until a watch was asked for.
func watching(t testing.TB, s *replay.Server) {
	t.Helper()
	until(t, "the watch runs", func() bool {
		return slices.ContainsFunc(s.Requests(), func(r string) bool { return strings.Contains(r, "watch=true") })
	})
}

// TestWatchExpired: after 410 what is newer comes, and what went as deleted, once each.
func TestWatchExpired(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	for _, name := range []string{"a", "b", "c", "d"} {
		s.Put(replay.Pods, follow.Added, pod("x", name))
	}
	p := start(t, s, watchPods)
	p.Wait(4)
	watching(t, s)
	s.Down(true)
	b := s.Put(replay.Pods, follow.Modified, pod("x", "b"))
	s.Put(replay.Pods, follow.Deleted, pod("x", "c"))
	e := s.Put(replay.Pods, follow.Added, pod("x", "e"))
	s.Compact()
	s.Down(false)
	p.Wait(7)
	f := s.Put(replay.Pods, follow.Added, pod("x", "f"))
	got := p.Wait(8)
	p.end()
	if want := fmt.Sprintf("~b@%s +e@%s -c@ +f@%s", b, e, f); names(got[4:]) != want {
		t.Errorf("%s, want %s", names(got[4:]), want)
	}
	c := got[6]
	if c.Attr("stint.watch.missed") != "true" || c.Attr("k8s.object.uid") != uidFor("x/c") || c.ResourceAttr("k8s.namespace.name") != "x" ||
		field(c.Body, "object", "metadata", "name").GetStringValue() != "c" || field(c.Body, "object", "kind").GetStringValue() != "Pod" {
		t.Errorf("a deletion that nobody saw: %v", c)
	}
}

// TestExpiredRestart: what went while nobody looked, and the server forgot, comes as deleted after a restart,
// too, once; what came as added.
func TestExpiredRestart(t *testing.T) {
	for _, initial := range []string{"none", "changed", "all"} {
		t.Run("initial="+initial, func(t *testing.T) {
			s := replay.New(t)
			s.Have(replay.Pods)
			r := Resource{Name: "pods", Mode: "watch", Initial: initial}
			old := map[string]string{"a": s.Put(replay.Pods, follow.Added, pod("x", "a"))}
			s.Put(replay.Pods, follow.Added, pod("x", "c"))
			s.Put(replay.Pods, follow.Added, pod("x", "d"))
			p := start(t, s, r)
			watching(t, s)
			s.Put(replay.Pods, follow.Deleted, pod("x", "d"))
			old["b"] = s.Put(replay.Pods, follow.Added, pod("x", "b"))
			until(t, "all is acknowledged", func() bool {
				return strings.Contains(p.src.targetAt(r.key("")), `"rv":"`+old["b"]+`"`)
			})
			p.end()
			a := s.Put(replay.Pods, follow.Modified, pod("x", "a"))
			s.Put(replay.Pods, follow.Deleted, pod("x", "c"))
			e := s.Put(replay.Pods, follow.Added, pod("x", "e"))
			s.Compact()
			p = start(t, s, r)
			want := "~a@" + a + " +e@" + e + " -c@"
			if initial == "all" {
				want = "+a@" + a + " +b@" + old["b"] + " +e@" + e + " -c@"
			}
			got := p.Wait(strings.Count(want, " ") + 1)
			if names(got) != want {
				t.Errorf("%s, want %s", names(got), want)
			}
			if c := got[len(got)-1]; c.Attr("stint.watch.missed") != "true" || c.Attr("k8s.object.uid") != uidFor("x/c") || c.ResourceAttr("k8s.namespace.name") != "x" {
				t.Errorf("a deletion that nobody saw: %v", c)
			}
			p.end()
			if initial == "all" {
				return
			}
			p = start(t, s, r)
			settledAt(t, p, e)
			p.end()
			if got := p.Records(); len(got) != 0 {
				t.Errorf("after one more restart came %s", names(got))
			}
		})
	}
}

// TestCheckpointWithoutObjects: one that has no objects, as of an earlier version or of a kind with too
// many, can't tell what went; that is said. The next one can.
func TestCheckpointWithoutObjects(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	s.Put(replay.Pods, follow.Added, pod("x", "a"))
	s.Put(replay.Pods, follow.Added, pod("x", "c"))
	p := start(t, s, watchPods)
	p.Wait(2)
	until(t, "there is a checkpoint", func() bool { return p.src.targetAt(watchPods.key("")) != "" })
	p.kill()
	b := s.Put(replay.Pods, follow.Added, pod("x", "b"))
	if err := p.src.store.Save(t.Context(), []byte(`{"`+watchPods.key("")+`":{"rv":"`+b+`"}}`)); err != nil {
		t.Fatal(err)
	}
	a := s.Put(replay.Pods, follow.Modified, pod("x", "a"))
	s.Put(replay.Pods, follow.Deleted, pod("x", "c"))
	s.Compact()
	p = start(t, s, watchPods)
	got := p.Wait(2)
	settledAt(t, p, a)
	p.end()
	if want := "~a@" + a + " stint.watch.gap@"; names(got) != want || got[1].Attr("stint.watch.gap.reason") != "expired" || got[1].Attr("stint.watch.gap.from") != b || got[1].SeverityText != "WARN" {
		t.Errorf("%s, want %s: %v", names(got), want, got[1])
	}
	s.Put(replay.Pods, follow.Deleted, pod("x", "b"))
	s.Compact()
	p = start(t, s, watchPods)
	if got := names(p.Wait(1)); got != "-b@" {
		t.Errorf("%s, want -b@", got)
	}
	p.end()
}

// TestExpiredRestarts: whoever applies what was acknowledged knows in the end which objects there are, however often
// the process ended, with records that were not acknowledged, and the server forgot what happened meanwhile; in
// lists of several pages, too.
func TestExpiredRestarts(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 7))
			s := replay.New(t)
			s.Have(replay.Pods)
			live, told, version := map[string]string{}, map[string]string{}, "" // uids by name, names by uid
			change := func() {
				name := fmt.Sprint("p", rnd.IntN(40))
				kind, uid := follow.Modified, live[name]
				switch {
				case uid == "":
					kind, uid = follow.Added, uidFor(fmt.Sprint(name, s.Version()))
				case rnd.IntN(2) == 0:
					kind = follow.Deleted
				}
				if live[name] = uid; kind == follow.Deleted {
					delete(live, name)
				}
				ns := "ns" + name[1:2]
				version = s.Put(replay.Pods, kind, strings.Replace(pod(ns, name), uidFor(ns+"/"+name), uid, 1))
			}
			apply := func(records []replay.Record) {
				for _, r := range records {
					switch name, uid := r.Attr("event.name"), r.Attr("k8s.object.uid"); kindOf(r) {
					case "+":
						told[uid] = name
					case "~":
						if told[uid] == "" {
							t.Errorf("%s changes and was not added", name)
						}
					case "-":
						delete(told, uid)
					default:
						t.Errorf("%v", r)
					}
				}
			}
			small := func(src *Source) {
				if seed%2 == 0 {
					src.page = 3
				}
			}
			for round := range 8 {
				sink := replay.NewSink(t)
				p := startWith(t, s.Client(t), sink, small, watchPods)
				if round == 0 {
					until(t, "there is a checkpoint", func() bool { return strings.Contains(s.State("stint-cluster-objects"), `"rv"`) })
				}
				sink.Hold()
				for range rnd.IntN(60) {
					change()
					switch rnd.IntN(12) {
					case 0:
						s.Restart()
					case 1:
						s.Compact()
						s.Restart()
					case 2, 3, 4:
						sink.Settle(rnd.IntN(3), otlp.Delivered)
					}
				}
				time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond) // a moment at random, not a wait for anything
				sink.Settle(rnd.IntN(20), otlp.Delivered)
				p.end()
				records := sink.Records()
				acked := 0
				for _, r := range records {
					acked = max(acked, r.Chunk)
				}
				acked -= sink.Held()
				apply(slices.DeleteFunc(records, func(r replay.Record) bool { return r.Chunk > acked }))
				for range rnd.IntN(20) {
					change()
				}
				s.Compact()
			}
			change()
			sink := replay.NewSink(t)
			p := startWith(t, s.Client(t), sink, small, watchPods)
			settledAt(t, p, version)
			p.end()
			apply(sink.Records())
			for name, uid := range live {
				if told[uid] != name {
					t.Errorf("%s is there, and not by the records", name)
				}
				delete(told, uid)
			}
			if len(told) > 0 {
				t.Errorf("%v are there by the records alone", told)
			}
		})
	}
}

// targetAt is what is kept of a target.
func (s *Source) targetAt(key string) string {
	b := string(s.last(key))
	if !strings.Contains(b, "rv") {
		return ""
	}
	return b
}

// TestFuture: a version that the server has not come to is found out at the start, and while a watch
// says nothing.
func TestFuture(t *testing.T) {
	t.Run("at the start", func(t *testing.T) {
		s := replay.New(t)
		s.Have(replay.Pods)
		first := s.Version()
		s.Put(replay.Pods, follow.Added, pod("x", "a"))
		for range 50 {
			s.Put(replay.Pods, follow.Modified, pod("x", "a"))
		}
		p := start(t, s, watchPods)
		p.Wait(1)
		settledVersion := func() bool { return strings.Contains(string(p.src.state()), `"rv"`) }
		until(t, "there is a checkpoint", settledVersion)
		p.end()
		s.Rewind(first)
		s.Put(replay.Pods, follow.Added, pod("x", "b"))
		p = start(t, s, watchPods)
		p.Wait(3)
		s.Put(replay.Pods, follow.Added, pod("x", "c"))
		got := p.Wait(4)
		p.end()
		if names(got[:1]) != "stint.watch.gap@" || got[0].Attr("stint.watch.gap.reason") != "future" || !strings.HasPrefix(names(got[1:]), "+b@") || !strings.Contains(names(got[1:]), " +c@") {
			t.Errorf("%s", names(got))
		}
	})
	t.Run("while it watches", func(t *testing.T) {
		s := replay.New(t)
		s.Have(replay.Pods)
		first := s.Version()
		sink := replay.NewSink(t)
		p := startWith(t, s.Client(t), sink, func(src *Source) { src.idle = 50 * time.Millisecond }, watchPods)
		watching(t, s)
		for range 50 {
			s.Put(replay.Pods, follow.Added, pod("x", "a"))
		}
		p.Wait(50)
		s.Rewind(first)
		s.Put(replay.Pods, follow.Added, pod("x", "b"))
		got := p.Wait(52)[50:]
		p.end()
		if names(got[:1]) != "stint.watch.gap@" || !strings.HasPrefix(names(got[1:]), "+b@") {
			t.Errorf("%s", names(got))
		}
	})
}

// TestFence: without a live lease nothing leaves, and the term ends.
func TestFence(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	p := start(t, s, watchPods)
	watching(t, s)
	s.Put(replay.Pods, follow.Added, pod("x", "a"))
	p.Wait(1)
	p.Lose()
	for range 20 {
		s.Put(replay.Pods, follow.Added, pod("x", "b"))
	}
	if err := p.wait(); err == nil || !strings.Contains(err.Error(), "lease") {
		t.Errorf("Run: %v", err)
	}
	if n := len(p.Records()); n != 1 {
		t.Errorf("%d records left without a lease", n-1)
	}
	// Run without a lease does not begin; with one it goes on where it was.
	p.run()
	if err := p.wait(); err == nil {
		t.Error("Run began without a lease")
	}
	p.Gain()
	if err := p.src.Handover(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.run()
	got := p.Wait(21)
	p.end()
	if len(got) != 21 || got[20].Attr("stint.leader.term") != "2" {
		t.Errorf("%d records, %v", len(got), got[20])
	}
}

// TestTermWithoutCheckpoint: a term in which the checkpoint could not be opened does not write what an earlier one knew
// over what the leader in between has written.
func TestTermWithoutCheckpoint(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	p := start(t, s, watchPods)
	watching(t, s)
	s.Put(replay.Pods, follow.Added, pod("x", "a"))
	p.Wait(1)
	p.end()
	sink := replay.NewSink(t)
	sink.Gain()
	other := startWith(t, s.Client(t), sink, func(*Source) {}, watchPods)
	b := s.Put(replay.Pods, follow.Added, pod("x", "b"))
	settledAt(t, other, b)
	other.end()
	state := s.State("stint-cluster-objects")

	p.Gain()
	p.Gain()
	s.Forbid("configmaps", true)
	asked := len(s.Requests())
	p.run()
	until(t, "the checkpoint is asked for", func() bool {
		return slices.ContainsFunc(s.Requests()[asked:], func(r string) bool { return strings.Contains(r, "/configmaps/") })
	})
	p.stop()
	if err := p.wait(); err != nil {
		t.Fatal(err)
	}
	s.Forbid("configmaps", false)
	if err := p.src.Handover(t.Context()); err != nil {
		t.Error(err)
	}
	if got := s.State("stint-cluster-objects"); got != state {
		t.Errorf("%s, want %s", got, state)
	}
}

// TestDiscoveryHangs: while it is asked for one kind, the others go on, and the term can end.
func TestDiscoveryHangs(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	p := start(t, s, watchPods, Resource{Name: "widgets"})
	watching(t, s)
	s.Hang("/apis")
	asked := len(s.Requests())
	until(t, "the other kind is looked for again", func() bool { return slices.Contains(s.Requests()[asked:], "GET /apis") })
	a := s.Put(replay.Pods, follow.Added, pod("x", "a"))
	p.Wait(1)
	until(t, "it is acknowledged", func() bool { return strings.Contains(s.State("stint-cluster-objects"), `"rv":"`+a) })
	p.end()
}

// TestExpiresAgain: a server that lists and at once has forgotten what it listed is not asked without a pause.
func TestExpiresAgain(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	s.Put(replay.Pods, follow.Added, pod("x", "a"))
	s.Forgetful(true)
	p := start(t, s, watchPods)
	p.Wait(1)
	pause := time.NewTimer(2 * time.Second)
	defer pause.Stop()
	<-pause.C // what is looked at is what did not happen by then
	if n := len(s.Requests()); n > 100 {
		t.Errorf("%d requests in 2 s", n)
	}
	s.Forgetful(false)
	b := s.Put(replay.Pods, follow.Added, pod("x", "b"))
	settledAt(t, p, b)
	p.end()
}

// TestTwoLeaders: one that lost the lease without noticing can't keep its checkpoint over that of the
// next, and stops.
func TestTwoLeaders(t *testing.T) {
	s := replay.New(t)
	s.Have(replay.Pods)
	old := start(t, s, watchPods)
	watching(t, s)
	next := replay.NewSink(t)
	next.Gain()
	p := startWith(t, s.Client(t), next, func(*Source) {}, watchPods)
	until(t, "the next leader has the checkpoint", func() bool {
		cm := s.Map("stint-cluster-objects")
		return cm != nil && strings.Contains(cm.Data["about"], `"term":2`)
	})
	s.Put(replay.Pods, follow.Added, pod("x", "a")) // something to keep
	if err := old.wait(); err == nil || !strings.Contains(err.Error(), "another leader has the checkpoint") {
		t.Errorf("the leader of before: %v", err)
	}
	p.end()
}

// TestRestart: nothing is missing and nothing comes twice but what was not acknowledged, whenever the
// process ends, and whether the server still knows what happened or not.
func TestRestart(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			kills := seed%2 == 1 // without a last checkpoint: what was acknowledged since the one before comes twice
			rnd := rand.New(rand.NewPCG(seed, 1))
			s := replay.New(t)
			s.Have(replay.Pods)
			acked, unacked := map[string]int{}, map[string]int{}
			var all []string
			live := map[string]bool{}
			change := func() {
				name := fmt.Sprint("p", rnd.IntN(20))
				kind := follow.Added
				if live[name] {
					if kind = follow.Modified; rnd.IntN(3) == 0 {
						kind = follow.Deleted
					}
				}
				live[name] = kind != follow.Deleted
				all = append(all, map[string]string{"ADDED": "+", "MODIFIED": "~", "DELETED": "-"}[kind]+name+"@"+s.Put(replay.Pods, kind, pod("ns"+name[1:2], name)))
			}
			for round := range 6 {
				sink := replay.NewSink(t)
				p := startWith(t, s.Client(t), sink, func(*Source) {}, watchPods)
				if round == 0 { // from the first on nothing may be missed
					until(t, "there is a checkpoint", func() bool { return strings.Contains(s.State("stint-cluster-objects"), `"rv"`) })
				}
				sink.Hold()
				for range rnd.IntN(40) {
					change()
					if rnd.IntN(4) == 0 {
						sink.Settle(rnd.IntN(3), otlp.Delivered)
					}
					if rnd.IntN(20) == 0 {
						s.Restart()
					}
				}
				if rnd.IntN(3) > 0 {
					time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond) // a moment at random, not a wait for anything
				}
				sink.Settle(rnd.IntN(20), otlp.Delivered)
				held := sink.Held()
				if kills {
					p.kill()
				} else {
					p.end()
				}
				// What the last chunks held is not acknowledged.
				records := sink.Records()
				lastAcked := 0
				for _, r := range records {
					lastAcked = max(lastAcked, r.Chunk)
				}
				lastAcked -= max(held, sink.Held())
				for _, r := range records {
					if r.Chunk <= lastAcked {
						acked[names([]replay.Record{r})]++
					} else {
						unacked[names([]replay.Record{r})]++
					}
				}
			}
			sink := replay.NewSink(t)
			p := startWith(t, s.Client(t), sink, func(*Source) {}, watchPods)
			settledAt(t, p, strings.Split(all[len(all)-1], "@")[1])
			p.end()
			for _, r := range sink.Records() {
				acked[names([]replay.Record{r})]++
			}
			for _, c := range all {
				if acked[c] != 1 && (!kills || acked[c] == 0) {
					t.Errorf("%s came %d times, and %d times more without being acknowledged", c, acked[c], unacked[c])
				}
			}
			if len(acked) != len(all) {
				t.Errorf("%d changes, want %d", len(acked), len(all))
			}
		})
	}
}
