package dedup

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
)

// vector is one of the worked cases of the overlap table.
type vector struct {
	ID     int            `json:"id"`
	Config map[string]any `json:"config"`
	Cycles []struct {
		In      []vectorPoint `json:"in"`
		Out     []int         `json:"out"`
		Dropped [][2]any      `json:"dropped"`
	} `json:"cycles"`
}

type vectorPoint struct {
	Source string         `json:"src"`
	Metric string         `json:"m"`
	Entity map[string]any `json:"e"`
	Attrs  map[string]any `json:"a"`
	Time   uint64         `json:"t"`
	Value  float64        `json:"v"`
	Kind   string         `json:"k"`
	Start  uint64         `json:"st"`
}

// key is what the point's source would claim.
func (p vectorPoint) key() Key {
	if id, ok := p.Entity["container.id"].(string); ok {
		return Key{Container, id, Concept(p.Metric)}
	}
	if id, ok := p.Entity["k8s.pod.uid"].(string); ok {
		return Key{Pod, id, Concept(p.Metric)}
	}
	return Key{Node, "", Concept(p.Metric)}
}

// elsewhere are the cases that a source decides by itself, with the test that holds them.
var elsewhere = map[int]string{
	15: "scrape/kubelet: a pod of the host's network", 16: "scrape/host: veth", 18: "scrape/host: one mount a device", 19: "scrape/host: mounts of volumes",
	20: "scrape/kubelet: capacity of a writable layer", 22: "scrape/host: partitions", 23: "scrape/kubelet: values over 2^62",
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(raw, &vectors); err != nil || len(vectors) != 24 {
		t.Fatalf("%d vectors: %v", len(vectors), err)
	}
	for _, v := range vectors {
		if elsewhere[v.ID] != "" {
			continue
		}
		t.Run(fmt.Sprint(v.ID), func(t *testing.T) {
			cfg := Defaults()
			for k, x := range v.Config {
				switch k {
				case "dedup.node":
					cfg.Node = x.(string)
				case "dedup.hold_cycles":
					cfg.HoldCycles = int(x.(float64))
				case "host.scrapers":
				default:
					t.Fatalf("config %s", k)
				}
			}
			table := New(cfg, prometheus.NewRegistry())
			claims := map[string]*Claim{}
			const cycle = time.Second
			at := func(c int) time.Time { return time.Unix(int64(1000+c), 0) }
			for n, c := range v.Cycles {
				var out []int
				dropped := map[int]string{}
				name := func(p vectorPoint) string { return p.Source + p.Metric + fmt.Sprint(p.key()) }
				for _, p := range c.In {
					if claims[name(p)] == nil {
						source := strings.Replace(p.Source, "netns", "cgroup", 1) // which reads the namespaces' files, too
						claims[name(p)] = table.Claim(source, cycle, p.key(), p.Kind == "c")
					}
				}
				for i := 0; i < len(c.In); {
					p := c.In[i]
					claim := claims[name(p)]
					// The points of one metric of one entity are handed over together.
					var s otlp.Series
					s.Metric(&otlp.Metric{Name: p.Metric, Instrument: map[string]otlp.Instrument{"c": otlp.Counter, "u": otlp.UpDown, "g": otlp.Gauge}[p.Kind], Double: true})
					first := i
					for ; i < len(c.In) && c.In[i].Metric == p.Metric && c.In[i].Source == p.Source && c.In[i].key() == p.key(); i++ {
						var attrs []otlp.KeyValue
						for k, v := range c.In[i].Attrs {
							attrs = append(attrs, otlp.Attr(k, fmt.Sprint(v)))
						}
						slices.SortFunc(attrs, func(a, b otlp.KeyValue) int { return strings.Compare(a.Key, b.Key) })
						s.SetDouble(s.Add(otlp.AppendAttrs(nil, otlp.AttrsOfPoint, attrs), c.In[i].Start), c.In[i].Value)
					}
					s.Finish()
					s.SetTime(p.Time)
					verdict := claim.Judge(at(n), p.Time, s.Bytes(), s.Len())
					for j := first; j < i; j++ {
						if verdict == Pass {
							out = append(out, j)
						} else {
							dropped[j] = verdict.String()
						}
					}
				}
				want := map[int]string{}
				for _, d := range c.Dropped {
					want[int(d[0].(float64))] = d[1].(string)
				}
				if !slices.Equal(out, c.Out) && len(out)+len(c.Out) > 0 || fmt.Sprint(dropped) != fmt.Sprint(want) {
					t.Errorf("cycle %d: sent %v, want %v; dropped %v, want %v", n, out, c.Out, dropped, want)
				}
			}
		})
	}
}

// TestThirdFallIsAReset: a value that stays lower is one that began anew.
func TestThirdFallIsAReset(t *testing.T) {
	table := New(Defaults(), nil)
	c := table.Claim("kubelet", time.Second, Key{Container, "c1", "container.cpu.time"}, true)
	for i, step := range []struct {
		value float64
		want  Verdict
	}{{10, Pass}, {4, Regression}, {5, Regression}, {6, Pass}, {7, Pass}, {1, Regression}, {8, Pass}} {
		var s otlp.Series
		s.Metric(&otlp.Metric{Name: "container.cpu.time", Instrument: otlp.Counter, Double: true})
		s.SetDouble(s.Add(nil, 1), step.value)
		s.Finish()
		s.SetTime(uint64(i + 1))
		if v := c.Judge(time.Unix(int64(i), 0), uint64(i+1), s.Bytes(), 1); v != step.want {
			t.Errorf("step %d: %v is %v, want %v", i, step.value, v, step.want)
		}
	}
}

// TestNothingIsKeptOfEntitiesThatAreGone: claims and start times end with their last user.
func TestNothingIsKeptOfEntitiesThatAreGone(t *testing.T) {
	table := New(Defaults(), nil)
	var claims []*Claim
	for i := range 100 {
		for _, source := range []string{"cgroup", "kubelet"} {
			id := fmt.Sprint(i)
			claims = append(claims, table.Claim(source, time.Second, Key{Container, id, "x"}, false))
			if at := table.Start(Container, id, uint64(1+len(claims)%2)); at != 2 {
				t.Errorf("%s: %s starts at %d, the first said 2", id, source, at)
			}
		}
	}
	for i, c := range claims {
		c.Release()
		c.Release()
		table.ReleaseStart(Container, fmt.Sprint(i/2))
	}
	if len(table.quantities) != 0 || len(table.starts) != 0 {
		t.Errorf("%d quantities and %d starts are left", len(table.quantities), len(table.starts))
	}
}

// TestAgain: points of the same quantity and time share a verdict, without being judged, or
// counted, twice.
func TestAgain(t *testing.T) {
	reg := prometheus.NewRegistry()
	table := New(Defaults(), reg)
	k := Key{Node, "", "system.cpu.time"}
	host, kubelet := table.Claim("host", time.Second, k, false), table.Claim("kubelet", time.Second, k, false)
	tick := time.Unix(100, 0)
	if v := host.Again(tick, 5, nil, 1); v != Pass {
		t.Errorf("what was not judged yet is %v", v)
	}
	if v, w := host.Again(tick, 5, nil, 1), host.Judge(tick, 5, nil, 1); v != Pass || w != Stale {
		t.Errorf("again %v, judged again %v, want pass and stale", v, w)
	}
	if v, w := kubelet.Judge(tick, 6, nil, 7), kubelet.Again(tick, 6, nil, 7); v != Duplicate || w != Duplicate {
		t.Errorf("of the other source: %v, again %v, want duplicate", v, w)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if len(m.Label) > 0 && m.Label[0].GetValue() == "duplicate" && m.Counter.GetValue() != 7 {
				t.Errorf("%v duplicates are counted, want 7", m.Counter.GetValue())
			}
		}
	}
	if table.Lost("host", k) || !table.Lost("kubelet", k) || table.Lost("host", Key{Node, "", "other"}) || (*Table)(nil).Lost("host", k) {
		t.Error("the wrong source has lost")
	}
}

// TestLateIsNotMissing: a better source whose figures are older than an interval takes over, although
// the other one's are newer at every tick.
func TestLateIsNotMissing(t *testing.T) {
	const interval, lag = 10 * time.Second, 12 * time.Second
	cfg := Defaults()
	cfg.Container = "kubelet"
	table := New(cfg, nil)
	k := Key{Container, "c1", "container.memory.usage"}
	other, better := table.Claim("cgroup", interval, k, false), table.Claim("kubelet", interval, k, false)
	var sent []string
	for i := range 9 {
		tick := time.Unix(1000, 0).Add(time.Duration(i) * interval)
		if other.Judge(tick, uint64(tick.UnixNano()), nil, 1) == Pass {
			sent = append(sent, fmt.Sprint("other ", i))
		}
		if i == 0 || i == 3 {
			continue // not known yet; missing once, so that the other takes over
		}
		if better.Judge(tick, uint64(tick.Add(-lag).UnixNano()), nil, 1) == Pass {
			sent = append(sent, fmt.Sprint("better ", i))
		}
	}
	if got, want := strings.Join(sent, ", "), "better 1, better 2, other 4, better 6, better 7, better 8"; got != want {
		t.Errorf("sent: %s, want %s", got, want)
	}
}
