package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"

	"stint/export/otlp"
	"stint/scrape/kube/follow"
	"stint/scrape/kube/replay"
)

// TestEvents: first sight, growth, what is no news, and what was there before.
func TestEvents(t *testing.T) {
	for initial, want := range map[string]string{"none": "b=1+1 a=7+4", "all": "a=3+3 b=1+1 a=7+4"} {
		s := replay.New(t)
		s.Have(coreEvents)
		s.Put(coreEvents, follow.Added, text("a", "ua", 3))
		p := start(t, s.Client(t), func(src *Source, cfg *Config) { cfg.Initial, src.windows[0] = initial, 10*time.Millisecond })
		p.saved(s)
		s.Put(coreEvents, follow.Added, text("b", "ub", 1))
		p.Wait(strings.Count(want, " "))
		s.Put(coreEvents, follow.Modified, text("b", "ub", 1)) // other managedFields
		s.Put(coreEvents, follow.Deleted, text("b", "ub", 1))
		s.Put(coreEvents, follow.Modified, text("a", "ua", 7))
		p.read(s.Put(coreEvents, follow.Deleted, text("a", "ua", 7)))
		p.end()
		if got := counts(p.Records()); got != want {
			t.Errorf("initial %s: %s, want %s", initial, got, want)
		}
	}
}

// TestThrottle: what repeats is sent after a while, then at longer intervals, with what happened in
// between.
func TestThrottle(t *testing.T) {
	s := replay.New(t)
	s.Have(coreEvents)
	p := start(t, s.Client(t), func(src *Source, _ *Config) { src.windows = [2]time.Duration{200 * time.Millisecond, time.Hour} })
	p.saved(s)
	s.Put(coreEvents, follow.Added, text("a", "ua", 1))
	for n := 2; n <= 5; n++ {
		s.Put(coreEvents, follow.Modified, text("a", "ua", n))
	}
	p.Wait(2)
	for n := 6; n <= 9; n++ {
		s.Put(coreEvents, follow.Modified, text("a", "ua", n))
	}
	last := s.Put(coreEvents, follow.Added, text("b", "ub", 1)) // is not held up
	p.Wait(3)
	p.read(last)
	p.end()
	got := counts(p.Records())
	sum := 0
	for _, r := range p.Records() {
		if r.Attr("k8s.event.name") == "a" {
			n, _ := strconv.Atoi(r.Attr("k8s.event.count_delta"))
			sum += n
		}
	}
	if !strings.HasPrefix(got, "a=1+1 a=") || !strings.Contains(got, " b=1+1") || sum != 9 || len(p.Records()) > 4 || !strings.Contains(got, " a=9+") {
		t.Errorf("%s", got)
	}
}

// TestRecreated: an event that outlives its object in the API server goes on with its count.
func TestRecreated(t *testing.T) {
	s := replay.New(t)
	s.Have(coreEvents)
	p := start(t, s.Client(t), func(src *Source, _ *Config) {
		src.windows = [2]time.Duration{10 * time.Millisecond, 10 * time.Millisecond}
	})
	p.saved(s)
	s.Put(coreEvents, follow.Added, text("a", "u1", 40))
	p.Wait(1)
	s.Put(coreEvents, follow.Deleted, text("a", "u1", 40))
	s.Put(coreEvents, follow.Added, text("a", "u2", 41))
	p.Wait(2)
	s.Put(coreEvents, follow.Added, text("a", "u3", 1)) // another one
	s.Put(coreEvents, follow.Modified, text("old", "u4", 9))
	p.Wait(4)
	p.end()
	if got, want := counts(p.Records()), "a=40+40 a=41+1 a=1+1 old=9+1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestRecreatedWhileWaiting: what waits for its turn is sent before another event of the same name, not left out for it.
func TestRecreatedWhileWaiting(t *testing.T) {
	s := replay.New(t)
	s.Have(coreEvents)
	p := start(t, s.Client(t), nil)
	p.saved(s)
	s.Put(coreEvents, follow.Added, text("a", "u1", 2))
	s.Put(coreEvents, follow.Modified, text("a", "u1", 5))
	s.Put(coreEvents, follow.Deleted, text("a", "u1", 5))
	last := s.Put(coreEvents, follow.Added, text("a", "u2", 1))
	p.read(last)
	p.end()
	if got, want := counts(p.Records()), "a=2+2 a=5+3 a=1+1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestNothingNewWhileAway: what is no news takes no memory while a record is not acknowledged.
func TestNothingNewWhileAway(t *testing.T) {
	s := replay.New(t)
	s.Have(coreEvents)
	p := start(t, s.Client(t), nil)
	p.saved(s)
	p.Hold()
	s.Put(coreEvents, follow.Added, text("a", "u1", 2))
	p.Wait(1)
	last := ""
	for range 500 {
		last = s.Put(coreEvents, follow.Modified, text("a", "u1", 2))
	}
	p.read(last)
	if n := p.src.targets[""].ledger.Len(); n != 1 {
		t.Errorf("%d entries for one record", n)
	}
	p.Release()
	p.end()
	if at := p.src.targets[""].ledger.Frontier().Version; at != last {
		t.Errorf("acknowledged up to %s, want %s", at, last)
	}
}

// TestDiscoveryHangs: an API server that does not answer is given up and asked again.
func TestDiscoveryHangs(t *testing.T) {
	s := replay.New(t)
	s.Have(coreEvents)
	s.Hang("/apis")
	p := start(t, s.Client(t), func(src *Source, _ *Config) { src.asking = 100 * time.Millisecond })
	until(t, "it is said", func() bool { return strings.Contains(p.log.String(), "can't be asked for") })
	s.Hang("")
	p.saved(s)
	s.Put(coreEvents, follow.Added, text("a", "u1", 1))
	p.Wait(1)
	p.end()
}

// TestRestart: over restarts at any moment the differences add up to the counts, if what is not
// acknowledged is not counted; after a kill nothing less.
func TestRestart(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 2))
			kills := seed%2 == 1
			s := replay.New(t)
			s.Have(coreEvents)
			count, acked := map[string]int{}, map[string]int{}
			last := "0"
			for round := range 6 {
				p := start(t, s.Client(t), func(src *Source, _ *Config) {
					src.windows = [2]time.Duration{20 * time.Millisecond, 50 * time.Millisecond}
				})
				if round == 0 {
					p.saved(s)
				}
				p.Hold()
				for range rnd.IntN(40) {
					name := fmt.Sprint("e", rnd.IntN(6))
					kind := follow.Modified
					if count[name]++; count[name] == 1 {
						kind = follow.Added
					}
					last = s.Put(coreEvents, kind, text(name, "u"+name, count[name]))
					switch rnd.IntN(10) {
					case 0:
						p.Settle(rnd.IntN(3), otlp.Delivered)
					case 1:
						time.Sleep(time.Duration(rnd.IntN(40)) * time.Millisecond) // moments at random, not waits for anything
					case 2:
						if rnd.IntN(3) == 0 {
							s.Down(true)
							s.Compact()
							s.Down(false)
						}
					}
				}
				p.Settle(rnd.IntN(10), otlp.Delivered)
				if kills {
					p.kill()
				} else {
					p.end()
				}
				add(acked, p.Records(), p.Held())
			}
			p := start(t, s.Client(t), func(src *Source, _ *Config) {
				src.windows = [2]time.Duration{20 * time.Millisecond, 50 * time.Millisecond}
			})
			until(t, "there is a target", func() bool { p.src.mu.Lock(); defer p.src.mu.Unlock(); return p.src.targets[""] != nil })
			p.read(last)
			p.end()
			add(acked, p.Records(), 0)
			for name, n := range count {
				if acked[name] != n && (!kills || acked[name] < n) {
					t.Errorf("%s happened %d times, %d were told of", name, n, acked[name])
				}
			}
		})
	}
}

// add adds the differences of the records that were acknowledged: those of all chunks but the last.
func add(sum map[string]int, records []replay.Record, held int) {
	if len(records) == 0 {
		return
	}
	acked := records[len(records)-1].Chunk - held
	for _, r := range records {
		n, _ := strconv.Atoi(r.Attr("k8s.event.count_delta"))
		if r.Chunk <= acked {
			sum[r.Attr("k8s.event.name")] += n
		}
	}
}

// TestCheckpointLost: one that can't be read is no reason to stop, and is said.
func TestCheckpointLost(t *testing.T) {
	for name, spoil := range map[string]func(map[string][]byte, map[string]string){
		"torn":          func(b map[string][]byte, _ map[string]string) { b["state.gz"] = b["state.gz"][:len(b["state.gz"])/2] },
		"flipped":       func(b map[string][]byte, _ map[string]string) { b["state.gz"][len(b["state.gz"])-5] ^= 1 },
		"about what":    func(_ map[string][]byte, d map[string]string) { d["about"] = "{" },
		"of the future": func(_ map[string][]byte, d map[string]string) { d["about"] = `{"version":99}` },
		"another cluster": func(_ map[string][]byte, d map[string]string) {
			d["about"] = strings.Replace(d["about"], "1111", "9999", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := replay.New(t)
			s.Have(coreEvents)
			p := start(t, s.Client(t), nil)
			p.saved(s)
			s.Put(coreEvents, follow.Added, text("a", "ua", 1))
			p.Wait(1)
			p.end()
			cm := s.Map("stint-cluster-events")
			spoil(cm.BinaryData, cm.Data)
			s.SetMap("stint-cluster-events", cm)
			p = start(t, s.Client(t), nil)
			p.Wait(1)
			p.saved(s)
			s.Put(coreEvents, follow.Added, text("b", "ub", 1))
			p.Wait(2)
			p.end()
			if got := counts(p.Records()); got != "checkpoint b=1+1" || !strings.Contains(p.log.String(), "checkpoint can't be used") {
				t.Errorf("%s\n%s", got, p.log)
			}
		})
	}
}

// TestFence: without a lease nothing leaves.
func TestFence(t *testing.T) {
	s := replay.New(t)
	s.Have(coreEvents)
	p := start(t, s.Client(t), nil)
	p.saved(s)
	p.Lose()
	s.Put(coreEvents, follow.Added, text("a", "ua", 1))
	if err := p.wait(); err == nil || !strings.Contains(err.Error(), "lease") || len(p.Records()) > 0 {
		t.Errorf("%v, %d records", err, len(p.Records()))
	}
}

// TestTermWithoutCheckpoint: what a term before knew is not written when the checkpoint could not be opened; what is still on its
// way of it does no harm.
func TestTermWithoutCheckpoint(t *testing.T) {
	s := replay.New(t)
	s.Have(coreEvents)
	p := start(t, s.Client(t), nil)
	p.saved(s)
	p.Hold()
	s.Put(coreEvents, follow.Added, text("a", "u1", 1))
	p.Wait(1)
	p.end()
	other := start(t, s.Client(t), nil)
	other.Gain()
	last := s.Put(coreEvents, follow.Added, text("b", "u2", 1))
	other.Wait(2)
	until(t, "it is kept", func() bool { return strings.Contains(s.State("stint-cluster-events"), `"rv":"`+last) })
	other.end()
	state := s.State("stint-cluster-events")
	p.Gain()
	s.Forbid("configmaps", true)
	asked := len(s.Requests())
	p.run()
	until(t, "the checkpoint is asked for", func() bool {
		return slices.ContainsFunc(s.Requests()[asked:], func(r string) bool { return strings.Contains(r, "/configmaps/") })
	})
	p.Release()
	p.kill()
	s.Forbid("configmaps", false)
	if err := p.src.Handover(t.Context()); err != nil {
		t.Error(err)
	}
	if got := s.State("stint-cluster-events"); got != state {
		t.Errorf("%s, want %s", got, state)
	}
}

// TestWhich: filters, the other API, and one namespace.
func TestWhich(t *testing.T) {
	s := replay.New(t)
	other := follow.Resource{Group: "events.k8s.io", Version: "v1", Name: "events", Kind: "Event", Namespaced: true, Watchable: true}
	s.Have(other)
	p := start(t, s.Client(t), func(_ *Source, cfg *Config) {
		cfg.Namespaces, cfg.Types, cfg.Reasons, cfg.ExcludeReasons, cfg.ExcludeNamespaces = []string{"x", "y"}, []string{"Warning"}, []string{"B*"}, []string{"*x"}, []string{"y"}
	})
	until(t, "both are watched", func() bool {
		return strings.Count(strings.Join(s.Requests(), " "), "watch=true") == 2
	})
	for _, e := range []string{
		strings.Replace(text("normal", "1", 1), `"Warning"`, `"Normal"`, 1),
		strings.Replace(text("reason", "2", 1), `"BackOff"`, `"Created"`, 1),
		strings.Replace(text("excluded", "3", 1), `"BackOff"`, `"Bax"`, 1),
		strings.Replace(text("namespace", "4", 1), `"namespace":"x"`, `"namespace":"y"`, 1),
		text("wanted", "5", 1),
	} {
		s.Put(other, follow.Added, e)
	}
	p.Wait(1)
	p.end()
	if got := counts(p.Records()); got != "wanted=1+1" || strings.Contains(strings.Join(s.Requests(), " "), "/api/v1/events") {
		t.Errorf("%s", got)
	}
}

// TestCaptured: what a real API server sent in 330 s, by either API: each event once, with every
// repetition of it, and the attributes that other signals have.
func TestCaptured(t *testing.T) {
	for name, kind := range map[string]follow.Resource{
		"watch.events.core.v1.jsonl":          coreEvents,
		"watch.events.events.k8s.io.v1.jsonl": {Group: "events.k8s.io", Version: "v1", Name: "events", Kind: "Event", Namespaced: true, Watchable: true},
	} {
		s := replay.New(t)
		s.Have(kind)
		p := start(t, s.Client(t), func(_ *Source, cfg *Config) { cfg.Initial = "all" })
		p.saved(s)
		want := map[string]int64{}
		s.SendAll(kind, replay.Changes(t, name))
		for _, c := range replay.Changes(t, name) {
			if c.Type == "BOOKMARK" {
				continue
			}
			e, err := decode(c.Object)
			if err != nil {
				t.Fatal(err)
			}
			want[e.Metadata.UID] = max(want[e.Metadata.UID], e.count())
		}
		p.read(last(t, name))
		p.end()
		got := map[string]int64{}
		joined := 0
		for _, r := range p.Records() {
			n, _ := strconv.ParseInt(r.Attr("k8s.event.count_delta"), 10, 64)
			got[r.Attr("k8s.event.uid")] += n
			if r.TimeUnixNano == 0 || r.Attr("k8s.event.reason") == "" && r.ResourceAttr("k8s.object.kind") != "Lease" || r.SeverityNumber == 0 && r.Attr("k8s.event.type") != "" {
				t.Errorf("%v", r)
			}
			if r.ResourceAttr("k8s.object.kind") == "Pod" {
				if r.ResourceAttr("k8s.pod.name") != r.ResourceAttr("k8s.object.name") || r.ResourceAttr("k8s.pod.uid") == "" || r.ResourceAttr("k8s.namespace.name") == "" {
					t.Errorf("%v", r.Resource)
				}
				joined++
			}
		}
		for uid, n := range want {
			if got[uid] != n {
				t.Errorf("%s: %s happened %d times, %d were told of", name, uid, n, got[uid])
			}
		}
		if len(got) != len(want) || joined == 0 {
			t.Errorf("%s: %d events, want %d", name, len(got), len(want))
		}
	}
}

// last is the newest version in a capture.
func last(t *testing.T, name string) (version string) {
	for _, c := range replay.Changes(t, name) {
		if id, err := follow.Identify(c.Object); err == nil && c.Type != "BOOKMARK" && follow.Newer(id.ResourceVersion, version) {
			version = id.ResourceVersion
		}
	}
	return version
}

// TestRecord: all there is to an event.
func TestRecord(t *testing.T) {
	e, err := decode([]byte(`{"metadata":{"name":"web.17","namespace":"shop","uid":"u1","resourceVersion":"9","creationTimestamp":"2026-11-22T15:45:32Z"},
		"regarding":{"kind":"Pod","namespace":"shop","name":"web","uid":"u2","apiVersion":"v1","resourceVersion":"7","fieldPath":"spec.containers{main}"},
		"related":{"kind":"Node","name":"n2","uid":"u3"},"eventTime":"2026-11-22T15:55:32.045989Z","series":{"count":4,"lastObservedTime":"2026-11-22T15:56:32.5Z"},
		"reason":"FailedScheduling","action":"Scheduling","note":"no room","type":"Warning","reportingController":"default-scheduler","reportingInstance":"s-1",
		"deprecatedSource":{"component":"c","host":"n1"},"deprecatedFirstTimestamp":null,"deprecatedCount":0}`))
	if err != nil {
		t.Fatal(err)
	}
	var got logspb.ScopeLogs
	now := time.Unix(1_800_000_000, 5)
	if err := proto.Unmarshal(otlp.AppendLogRecord(nil, e.record(now, 3, 2)), &got); err != nil {
		t.Fatal(err)
	}
	r := replay.Record{LogRecord: got.LogRecords[0]}
	if want := time.Date(2026, 11, 22, 15, 56, 32, 500_000_000, time.UTC); r.TimeUnixNano != uint64(want.UnixNano()) || r.ObservedTimeUnixNano != uint64(now.UnixNano()) ||
		r.Body.GetStringValue() != "no room" || r.SeverityNumber != 13 || r.SeverityText != "Warning" {
		t.Errorf("%v", r)
	}
	for key, want := range map[string]string{
		"k8s.event.reason": "FailedScheduling", "k8s.event.action": "Scheduling", "k8s.event.start_time": "2026-11-22T15:45:32Z", "k8s.event.name": "web.17",
		"k8s.event.uid": "u1", "k8s.event.count": "4", "k8s.event.count_delta": "3", "k8s.namespace.name": "shop", "k8s.event.type": "Warning",
		"k8s.event.reporting_controller": "default-scheduler", "k8s.event.reporting_instance": "s-1", "k8s.event.series.count": "4",
		"k8s.event.series.last_observed_time": "2026-11-22T15:56:32.5Z", "k8s.event.first_time": "2026-11-22T15:55:32.045989Z", "k8s.event.last_time": "2026-11-22T15:56:32.5Z",
		"k8s.event.related.kind": "Node", "k8s.event.related.name": "n2", "k8s.event.related.uid": "u3", "k8s.object.resource_version": "7",
		"k8s.event.resource_version": "9", "k8s.event.clock_skew_seconds": "600", "stint.leader.term": "2",
	} {
		if got := r.Attr(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	var resource []string
	for _, kv := range e.resource() {
		resource = append(resource, kv.Key+"="+kv.Value.Text())
	}
	if got, want := strings.Join(resource, " "), "k8s.object.kind=Pod k8s.object.name=web k8s.object.uid=u2 k8s.object.fieldpath=spec.containers{main} k8s.object.api_version=v1 "+
		"k8s.namespace.name=shop k8s.pod.name=web k8s.pod.uid=u2 k8s.node.name=n1 k8s.container.name=main"; got != want {
		t.Errorf("%s", got)
	}
}

// FuzzEvent: whatever an event is, it becomes a record that every server takes.
func FuzzEvent(f *testing.F) {
	for _, name := range []string{"watch.events.core.v1.jsonl", "watch.events.events.k8s.io.v1.jsonl"} {
		for i, c := range replay.Changes(f, name) {
			if i%20 == 0 {
				f.Add([]byte(c.Object))
			}
		}
	}
	f.Add([]byte(`{"metadata":null,"series":null,"related":{},"count":-5,"eventTime":"9999-12-31T23:59:59Z","message":"\ud800"}`))
	f.Add([]byte(`{"eventTime":7,"series":{"count":9223372036854775807,"lastObservedTime":"0001-01-01T00:00:00Z"},"involvedObject":{"fieldPath":"spec.containers{"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := decode(raw)
		if err != nil {
			if json.Valid(raw) && !strings.Contains(err.Error(), "cannot unmarshal") {
				t.Fatal(err)
			}
			return
		}
		if e.count() < 1 {
			t.Fatalf("count %d", e.count())
		}
		b := otlp.AppendLogRecord(nil, e.record(time.Unix(1_800_000_000, 0), 1, 1))
		g := otlp.NewGroup(e.resource(), "", "", "")
		var got logspb.LogsData
		if err := proto.Unmarshal(append(g.AppendFrame(nil, len(b)), b...), &got); err != nil {
			t.Fatal(err)
		}
		r := got.ResourceLogs[0].ScopeLogs[0].LogRecords[0]
		if !utf8.ValidString(r.Body.GetStringValue()) || len(r.Body.GetStringValue()) > maxBody {
			t.Fatalf("%q", r.Body)
		}
	})
}

// FuzzDigest: counts survive a checkpoint, and no bytes break the reader.
func FuzzDigest(f *testing.F) {
	f.Add([]byte{}, uint16(3))
	f.Add(bytes.Repeat([]byte{1}, 26), uint16(300))
	f.Fuzz(func(t *testing.T, b []byte, n uint16) {
		r := newRing()
		if r.load(b) == nil {
			again := newRing()
			if err := again.load(r.digest()); err != nil || !bytes.Equal(again.digest(), r.digest()) {
				t.Fatal(err)
			}
		}
		r = newRing()
		for i := range uint64(n) {
			e := r.add(i, uint32(i))
			e.acked = int64(i) % 3
		}
		again := newRing()
		if err := again.load(r.digest()); err != nil {
			t.Fatal(err)
		}
		for i := range uint64(n) {
			if got := again.get(i); (got != nil) != (i%3 > 0) || got != nil && (got.taken != int64(i%3) || got.uid != uint32(i)) {
				t.Fatalf("%d: %v", i, got)
			}
		}
	})
}

// TestRingIsBounded: the oldest goes, but not one that waits.
func TestRingIsBounded(t *testing.T) {
	r := newRing()
	for i := range uint64(maxEntries) {
		r.add(i, 1).acked = 1 << 40
	}
	r.pending[0] = &pending{}
	r.get(1)
	r.add(maxEntries, 1)
	if len(r.entries) != maxEntries || len(r.byName) != maxEntries || r.get(0) == nil || r.get(1) == nil || r.get(2) != nil || r.get(maxEntries) == nil {
		t.Errorf("%d entries", len(r.byName))
	}
	if n := len(r.digest()); n > maxEntries*18 {
		t.Errorf("a digest of %d bytes", n)
	}
}
