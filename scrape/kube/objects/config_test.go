package objects

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
	"stint/scrape/kube/follow"
	"stint/scrape/kube/replay"
)

func TestConfig(t *testing.T) {
	good := Defaults()
	good.Resources = []Resource{
		{Name: "pods"}, {Name: "pods", Mode: "watch", Initial: "all", ExcludeWatchType: []string{"DELETED"}}, {Name: "pods", LabelSelector: "a in (b, c)"},
		{Name: "widgets", Group: "shop.example.com", Version: "v1", Mode: "pull", Interval: time.Minute, Namespaces: []string{"a", "b"}, ExcludeNamespaces: []string{"kube-*"}, FieldSelector: "metadata.name!=x", Drop: []string{"spec.x[*]"}},
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for want, r := range map[string]Resource{
		`name: "Pod" is no resource`:                      {Name: "Pod"},
		`name: "" is no resource`:                         {},
		`name: "apps/v1" is no resource`:                  {Name: "apps/v1"},
		`group: "apps/v1" is no group`:                    {Name: "x", Group: "apps/v1"},
		`mode: "poll" is not known`:                       {Name: "x", Mode: "poll"},
		`initial: "some" is not known`:                    {Name: "x", Mode: "watch", Initial: "some"},
		`interval: 1ms is out of range`:                   {Name: "x", Interval: time.Millisecond},
		`interval: is for mode: pull`:                     {Name: "x", Mode: "watch", Interval: time.Hour},
		`initial and exclude_watch_type are for`:          {Name: "x", ExcludeWatchType: []string{"ADDED"}},
		`namespaces[1]: "a"`:                              {Name: "x", Namespaces: []string{"a", "a"}},
		`namespaces[0]: "A_"`:                             {Name: "x", Namespaces: []string{"A_"}},
		`exclude_namespaces[0]: "["`:                      {Name: "x", ExcludeNamespaces: []string{"["}},
		`exclude_watch_type[0]: "added" is not known`:     {Name: "x", Mode: "watch", ExcludeWatchType: []string{"added"}},
		`label_selector: `:                                {Name: "x", LabelSelector: "a=b=c"},
		`field_selector: `:                                {Name: "x", FieldSelector: "a"},
		`drop[0]: "a..b" is not a path`:                   {Name: "x", Drop: []string{"a..b"}},
		`objects.resources[4]: the same as objects.resou`: {Name: "pods", Mode: "pull", Namespaces: []string{"x"}},
	} {
		c := good
		c.Resources = append(c.Resources[:4:4], r)
		err := c.Check()
		if !strings.HasPrefix(want, "objects.") {
			want = "objects.resources[4]." + want
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", r, err, want)
		}
	}
	c := good
	c.Drop = []string{"["}
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "objects.drop[0]: ") {
		t.Error(err)
	}
	c = good
	for i := range maxTargets {
		c.Resources = append(c.Resources, Resource{Name: fmt.Sprint("r", i)})
	}
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "of at most 1000") {
		t.Error(err)
	}
}

// BenchmarkTake is a pod of a watch on its way into a chunk.
func BenchmarkTake(b *testing.B) {
	s := replay.New(b)
	cfg := Defaults()
	cfg.CheckpointNamespace, cfg.Resources = "stint", []Resource{{Name: "pods", Mode: "watch"}}
	d := replay.NewSink(b).Deps(s.Client(b), nil)
	d.Out = func(c *otlp.Chunk) { c.Settle(otlp.Delivered) }
	d.Registerer = prometheus.NewRegistry()
	src, err := New(cfg, d)
	if err != nil {
		b.Fatal(err)
	}
	src.begin(nil, func(error) {})
	t := newTarget(src, 0, replay.Pods, "")
	var bytes int64
	pods := replay.Changes(b, "watch.pods.batch.jsonl")[1:]
	for _, p := range pods {
		bytes += int64(len(p.Object))
	}
	b.SetBytes(bytes / int64(len(pods)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := pods[i%len(pods)]
		id, err := follow.Identify(p.Object)
		if err != nil {
			b.Fatal(err)
		}
		if err := t.Take(b.Context(), &follow.Change{Identity: id, Type: p.Type, Object: p.Object}); err != nil {
			b.Fatal(err)
		}
	}
}
