//go:build !cluster

package lookup

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"stint/export/otlp"
	"stint/scrape/kube"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster answers as an API server does, in JSON, with one pod; make test-cluster asks a real one.
type cluster struct {
	mu    sync.Mutex
	uid   string
	ip    string
	asked map[string]int
	fails bool
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what := r.URL.Path
	if s := r.URL.Query().Get("fieldSelector"); s != "" {
		what += "?" + s
	}
	c.asked[what]++
	w.Header().Set("Content-Type", "application/json")
	if c.fails {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
		return
	}
	pod := fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-5d8f-abc","namespace":"shop","uid":%q,"labels":{"app":"web","pod-template-hash":"5d8f"},
		"ownerReferences":[{"kind":"ReplicaSet","name":"web-5d8f","controller":true,"apiVersion":"apps/v1","uid":"r"}]},
		"spec":{"nodeName":"n1","containers":[]},"status":{"podIP":%q,"phase":"Running"}}`, c.uid, c.ip)
	meta := func(name, label string) string {
		return fmt.Sprintf(`{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":%q,"labels":{%q:"x","other":"y"}}}`, name, label)
	}
	switch {
	case what == "/api/v1/namespaces/shop/pods/web-5d8f-abc":
		io.WriteString(w, pod)
	case what == "/api/v1/pods?status.podIP="+c.ip:
		io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[`+pod+`]}`)
	case r.URL.Path == "/api/v1/pods":
		io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}`)
	case what == "/api/v1/namespaces/shop":
		io.WriteString(w, meta("shop", "team"))
	case what == "/api/v1/nodes/n1":
		io.WriteString(w, meta("n1", "topology.kubernetes.io/zone"))
	default:
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
	}
}

func (c *cluster) times(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[what]
}

func newLookup(t *testing.T, c *cluster) *Lookup {
	t.Helper()
	c.asked = map[string]int{}
	server := httptest.NewServer(c)
	config := filepath.Join(t.TempDir(), "kubeconfig")
	text, _ := json.Marshal(map[string]any{
		"clusters":        []any{map[string]any{"name": "c", "cluster": map[string]any{"server": server.URL}}},
		"contexts":        []any{map[string]any{"name": "c", "context": map[string]any{"cluster": "c"}}},
		"current-context": "c",
	})
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := kube.NewClient(kube.Config{Kubeconfig: config}, "test")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Enabled: true, PodLabels: []string{"app"}, NamespaceLabels: []string{"team"}, NodeLabels: []string{"topology.kubernetes.io/*"}}
	l := New(cfg, client, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-done
		server.Close()
	})
	return l
}

// enriched is a resource after Enrich.
func enriched(l *Lookup, c Client, resource ...string) map[string]string {
	var attrs []otlp.KeyValue
	for i := 0; i < len(resource); i += 2 {
		attrs = append(attrs, otlp.Attr(resource[i], resource[i+1]))
	}
	all := map[string]string{}
	l.Enrich(context.Background(), c, otlp.NewGroup(attrs, "", "", "")).Attributes(func(k string, v otlp.Value) { all[k] = v.Text() })
	return all
}

var whole = map[string]string{
	"k8s.namespace.name": "shop", "k8s.pod.name": "web-5d8f-abc", "k8s.pod.uid": "u1", "k8s.node.name": "n1", "k8s.replicaset.name": "web-5d8f", "k8s.deployment.name": "web",
	"k8s.pod.label.app": "web", "k8s.namespace.label.team": "x", "k8s.node.label.topology.kubernetes.io/zone": "x",
}

func with(m map[string]string, kv ...string) map[string]string {
	m = maps.Clone(m)
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

// What a request says of itself counts first; its address only where it says nothing.
func TestEnrich(t *testing.T) {
	l := newLookup(t, &cluster{uid: "u1", ip: "10.1.2.3"})
	at := func(ip string) Client { return Client{Address: ip, Connected: time.Now()} }
	for name, c := range map[string]struct {
		got, want map[string]string
	}{
		"by its address":             {enriched(l, at("10.1.2.3"), "service.name", "web"), with(whole, "service.name", "web")},
		"by its address, mapped":     {enriched(l, at("::ffff:10.1.2.3")), whole},
		"by the address it names":    {enriched(l, at("10.9.9.9"), "k8s.pod.ip", "10.1.2.3"), with(whole, "k8s.pod.ip", "10.1.2.3")},
		"by its names":               {enriched(l, at("10.9.9.9"), "k8s.pod.name", "web-5d8f-abc", "k8s.namespace.name", "shop", "k8s.pod.uid", "u1"), whole},
		"what it says stays":         {enriched(l, at("10.1.2.3"), "k8s.deployment.name", "mine"), with(whole, "k8s.deployment.name", "mine")},
		"no pod has the address":     {enriched(l, at("10.9.9.9"), "a", "b"), map[string]string{"a": "b"}},
		"a pod of before":            {enriched(l, at("10.1.2.3"), "k8s.pod.name", "web-5d8f-abc", "k8s.namespace.name", "shop", "k8s.pod.uid", "u0"), map[string]string{"k8s.pod.name": "web-5d8f-abc", "k8s.namespace.name": "shop", "k8s.pod.uid": "u0", "k8s.namespace.label.team": "x"}},
		"of a node, sent by a pod":   {enriched(l, at("10.1.2.3"), "k8s.node.name", "n1"), map[string]string{"k8s.node.name": "n1", "k8s.node.label.topology.kubernetes.io/zone": "x"}},
		"from an agent of the house": {enriched(l, Client{Address: "10.1.2.3", Stint: true}, "host.name", "n1"), map[string]string{"host.name": "n1"}},
		"its pods": {enriched(l, Client{Stint: true}, "k8s.pod.name", "p", "k8s.namespace.name", "shop", "k8s.node.name", "n1"),
			map[string]string{"k8s.pod.name": "p", "k8s.namespace.name": "shop", "k8s.node.name": "n1", "k8s.namespace.label.team": "x", "k8s.node.label.topology.kubernetes.io/zone": "x"}},
		"from this machine": {enriched(l, at("127.0.0.1"), "a", "b"), map[string]string{"a": "b"}},
	} {
		if !maps.Equal(c.got, c.want) {
			t.Errorf("%s:\n%v, want\n%v", name, c.got, c.want)
		}
	}
}

// An answer is asked for once, however many requests there are. An address that another pod has by now is not taken for
// the old one's: a connection that began since has it looked at again.
func TestAddressUsedAgain(t *testing.T) {
	c := &cluster{uid: "u1", ip: "10.1.2.3"}
	l := newLookup(t, c)
	old := Client{Address: "10.1.2.3", Connected: time.Now()}
	for range 10 {
		if got := enriched(l, old)["k8s.pod.uid"]; got != "u1" {
			t.Fatalf("it comes from %q", got)
		}
	}
	const search = "/api/v1/pods?status.podIP=10.1.2.3"
	if n := c.times(search); n != 1 {
		t.Errorf("searched %d times, want once", n)
	}
	later := func() Client {
		l.mu.Lock()
		defer l.mu.Unlock()
		e := l.entries[key{kind: address, name: "10.1.2.3"}]
		e.at = e.at.Add(-2 * sureFor) // as long ago was it asked
		return Client{Address: "10.1.2.3", Connected: time.Now()}
	}
	if got := enriched(l, later())["k8s.pod.uid"]; got != "u1" {
		t.Errorf("the same pod, connected anew: %q", got)
	}
	if n := c.times(search); n != 1 {
		t.Errorf("searched %d times, want once: its name tells that it is the same", n)
	}
	c.mu.Lock()
	c.uid = "u2"
	c.mu.Unlock()
	if got := enriched(l, later())["k8s.pod.uid"]; got != "u2" {
		t.Errorf("another pod with the address is taken for %q", got)
	}
	if got := enriched(l, old)["k8s.pod.uid"]; got != "u2" {
		t.Errorf("%q", got)
	}
}

// A server that refuses holds a request up once, and not again for some seconds; nothing is added.
func TestRefused(t *testing.T) {
	c := &cluster{fails: true}
	l := newLookup(t, c)
	for range 5 {
		if got := enriched(l, Client{Address: "10.1.2.3", Connected: time.Now()}, "a", "b"); len(got) != 1 {
			t.Errorf("%v", got)
		}
	}
	if n := c.times("/api/v1/pods?status.podIP=10.1.2.3"); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

// What is known has a bound, and what was used last stays.
func TestBound(t *testing.T) {
	l := &Lookup{entries: map[key]*entry{}}
	now := time.Now()
	for i := range maxEntries + 1000 {
		l.makeRoom()
		l.entries[key{pod, "ns", fmt.Sprint(i)}] = &entry{used: now.Add(time.Duration(i) * time.Second)}
	}
	if n := len(l.entries); n > maxEntries {
		t.Errorf("%d entries, want %d", n, maxEntries)
	}
	kept := 0
	for i := range 1000 {
		if l.entries[key{pod, "ns", fmt.Sprint(maxEntries + i)}] != nil {
			kept++
		}
	}
	if kept < 950 {
		t.Errorf("%d of the last 1,000 are still known", kept)
	}
}

// Globs are looked at when the configuration is.
func TestCheck(t *testing.T) {
	err := Config{PodLabels: []string{"ok", "["}, NodeLabels: []string{""}}.Check("gateway.enrich")
	for _, want := range []string{"gateway.enrich.pod_labels[1]", "gateway.enrich.node_labels[0]"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
