package agent

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stint/export/otlp"
	"stint/scrape"
	"stint/scrape/kubelet"
	"stint/tail"
)

// podList is what a kubelet answers for /pods, in the fields that matter here.
func podList(pods ...map[string]any) []byte {
	b, err := json.Marshal(map[string]any{"kind": "PodList", "apiVersion": "v1", "items": pods})
	if err != nil {
		panic(err)
	}
	return b
}

// aPod is a pod of a Deployment with two containers.
func aPod(name string, labels, annotations map[string]string) map[string]any {
	all := map[string]string{"pod-template-hash": "645f6f78c4"}
	for k, v := range labels {
		all[k] = v
	}
	return map[string]any{
		"metadata": map[string]any{
			"name": name, "namespace": "shop", "uid": "uid-" + name, "labels": all, "annotations": annotations,
			"ownerReferences": []map[string]any{{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-645f6f78c4", "uid": "r", "controller": true}},
		},
		"spec": map[string]any{"containers": []map[string]any{{"name": "main", "image": "registry.example:5000/shop/web:1.2@sha256:ab"}, {"name": "side", "image": "envoy"}}},
		"status": map[string]any{"phase": "Running", "containerStatuses": []map[string]any{
			{"name": "main", "restartCount": 1, "containerID": "containerd://c0ffee", "imageID": "sha256:ab", "state": map[string]any{"running": map[string]any{}}},
		}},
	}
}

// kubeletOf serves the pods over TLS and gives a table of them that is filled.
func kubeletOf(t *testing.T, answer *atomic.Pointer[[]byte]) (cfg kubelet.Config) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/pods" {
			http.NotFound(w, r)
			return
		}
		w.Write(*answer.Load())
	}))
	t.Cleanup(server.Close)
	cfg = kubelet.Defaults()
	cfg.Enabled, cfg.Endpoint, cfg.PodsAPISocket, cfg.TokenFile, cfg.CAFile, cfg.InsecureSkipVerify = "true", server.URL, "", "", "", true
	return cfg
}

func TestAbout(t *testing.T) {
	for name, tc := range map[string]struct {
		labels, annotations map[string]string
		exclude             []string // tail.containers.exclude_labels
		want                tail.Container
	}{
		"nothing special":                     {},
		"stint.io/exclude":                    {annotations: map[string]string{"stint.io/exclude": "true"}, want: tail.Container{Exclude: true}},
		"stint.io/exclude of this container":  {annotations: map[string]string{"stint.io/exclude.main": "true"}, want: tail.Container{Exclude: true}},
		"stint.io/exclude but not this":       {annotations: map[string]string{"stint.io/exclude": "true", "stint.io/exclude.main": "false"}},
		"stint.io/exclude of another":         {annotations: map[string]string{"stint.io/exclude.side": "true"}},
		"fluentbit.io/exclude":                {annotations: map[string]string{"fluentbit.io/exclude": "true"}, want: tail.Container{Exclude: true}},
		"fluentbit.io/exclude of container":   {annotations: map[string]string{"fluentbit.io/exclude-main": "true"}, want: tail.Container{Exclude: true}},
		"fluentbit.io/exclude_stderr":         {annotations: map[string]string{"fluentbit.io/exclude_stderr": "true"}, want: tail.Container{ExcludeStream: [2]bool{false, true}}},
		"fluentbit.io/exclude_stdout-main":    {annotations: map[string]string{"fluentbit.io/exclude_stdout-main": "true"}, want: tail.Container{ExcludeStream: [2]bool{true, false}}},
		"OTel discovery off":                  {annotations: map[string]string{"io.opentelemetry.discovery.logs/enabled": "false"}, want: tail.Container{Exclude: true}},
		"OTel discovery off, on for this":     {annotations: map[string]string{"io.opentelemetry.discovery.logs/enabled": "false", "io.opentelemetry.discovery.logs.main/enabled": "true"}},
		"vector.dev/exclude":                  {labels: map[string]string{"vector.dev/exclude": "true"}, want: tail.Container{Exclude: true}},
		"vector.dev/exclude-containers":       {annotations: map[string]string{"vector.dev/exclude-containers": "side, main"}, want: tail.Container{Exclude: true}},
		"vector.dev/exclude-containers other": {annotations: map[string]string{"vector.dev/exclude-containers": "side,mains"}},
		"a label by its key":                  {labels: map[string]string{"noisy": "x"}, exclude: []string{"noisy"}, want: tail.Container{Exclude: true}},
		"a label with another value":          {labels: map[string]string{"noisy": "x"}, exclude: []string{"noisy=y", "else"}},
		"modes":                               {annotations: map[string]string{"stint.io/multiline": "java", "stint.io/parse.main": "json"}, want: tail.Container{Multiline: "java", Parse: "json"}},
		"modes of this container":             {annotations: map[string]string{"stint.io/multiline": "java", "stint.io/multiline.main": "go"}, want: tail.Container{Multiline: "go"}},
		"no free pattern":                     {annotations: map[string]string{"stint.io/multiline": "^(a+)+$"}},
		"further attributes": {annotations: map[string]string{"resource.opentelemetry.io/team": "shop"},
			want: tail.Container{Resource: []otlp.KeyValue{otlp.Attr("team", "shop")}}},
		"labels of the list": {labels: map[string]string{"app.kubernetes.io/version": "7", "other": "x"},
			want: tail.Container{Resource: []otlp.KeyValue{otlp.Attr("k8s.pod.label.app.kubernetes.io/version", "7")}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var answer atomic.Pointer[[]byte]
			list := podList(aPod("p", tc.labels, tc.annotations))
			answer.Store(&list)
			cfg := testConfig(t)
			cfg.Scrape.Host.Enabled = false
			cfg.Scrape.Kubelet = kubeletOf(t, &answer)
			cfg.Tail.Containers.ExcludeLabels = tc.exclude
			r := startAgent(t, cfg)
			m := newMetadata(r.a.node.pods, cfg.Tail.Containers, r.a.log)
			var got *tail.Container
			r.until("the pod is known", func(Status) bool { got = m.lookup("uid-p", "main", 1); return got != nil })
			want := tc.want
			want.Resource = slices.Concat([]otlp.KeyValue{
				otlp.Attr("service.name", "web"), otlp.Attr("k8s.replicaset.name", "web-645f6f78c4"), otlp.Attr("k8s.deployment.name", "web"),
				otlp.Attr("container.id", "c0ffee"), otlp.Attr("k8s.container.name", "main"), otlp.Attr("container.image.name", "registry.example:5000/shop/web"),
				{Key: "container.image.tags", Value: otlp.Array(otlp.String("1.2"))}, otlp.Attr("container.image.id", "sha256:ab"),
			}, want.Resource)
			if d := cmp.Diff(&want, got, cmp.AllowUnexported(otlp.Value{})); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if again := m.lookup("uid-p", "main", 1); again != got {
				t.Error("asked twice, another pointer")
			}
			if other := m.lookup("uid-p", "main", 0); slices.ContainsFunc(other.Resource, func(kv otlp.KeyValue) bool { return kv.Key == "container.id" }) {
				t.Error("the run before has the id of this one")
			}
		})
	}
}

// TestKubeletFiguresArrive: what a real kubelet answered, from its socket to the exporter.
func TestKubeletFiguresArrive(t *testing.T) {
	captured := func(name string) []byte {
		f, err := os.Open("../scrape/kubelet/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	pods, stats := captured("pods.json.gz"), captured("stats_summary.busy.json.gz")
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/pods":
			w.Write(pods)
		case "/stats/summary":
			w.Write(stats)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	cfg := testConfig(t)
	k := &cfg.Scrape.Kubelet
	k.Enabled, k.Endpoint, k.PodsAPISocket, k.TokenFile, k.CAFile, k.InsecureSkipVerify = "true", server.URL, "", "", "", true
	cfg.Scrape.Interval = time.Second
	r := startAgent(t, cfg)
	r.until("24 pods are told of", func(s Status) bool {
		i := slices.IndexFunc(s.Scrapers, func(x scrape.Status) bool { return x.Source == "kubelet" })
		return i >= 0 && s.Scrapers[i].Points > 200 && !s.Scrapers[i].Failing && s.Pods.Source == "pods"
	})
}

// TestExcludedByAnnotationIsNotRead: from the kubelet's answer to the file that is passed over.
func TestExcludedByAnnotationIsNotRead(t *testing.T) {
	var answer atomic.Pointer[[]byte]
	list := podList(aPod("quiet", nil, map[string]string{"fluentbit.io/exclude": "true"}), aPod("loud", nil, nil))
	answer.Store(&list)
	cfg := testConfig(t)
	cfg.Scrape.Host.Enabled = false
	cfg.Scrape.Kubelet = kubeletOf(t, &answer)
	line := "2026-01-02T03:04:05Z stdout F hello\n"
	for _, pod := range []string{"quiet", "loud"} {
		dir := filepath.Join(cfg.Tail.Containers.Root, "shop_"+pod+"_uid-"+pod, "main")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "1.log"), []byte(line+line), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := startAgent(t, cfg)
	r.until("one is read and one passed over", func(s Status) bool {
		return s.Tail.Delivered == 2 && s.Tail.Skipped == int64(2*len(line)) && s.Tail.BehindBytes == 0
	})
}
