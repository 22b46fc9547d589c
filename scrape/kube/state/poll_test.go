package state

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Leases, ConfigMaps and Secrets are listed, in pages, and never watched; of the last two only metadata.
func TestPolled(t *testing.T) {
	a := newAPIServer(t)
	meta := func(n int, namespace, name string) object {
		return object{"name": name, "namespace": namespace, "uid": uid(n)}
	}
	a.set("nodes", object{"metadata": object{"name": "n1", "uid": uid(1)}})
	a.set("nodes", object{"metadata": object{"name": "n2", "uid": uid(2)}})
	for i, ns := range []string{"full", "empty"} {
		a.set("namespaces", object{"metadata": object{"name": ns, "uid": uid(3 + i)}})
	}
	a.set("leases", object{"metadata": meta(5, nodeLeases, "n1"), "spec": object{"renewTime": "2026-11-22T15:49:50.500000Z", "holderIdentity": "n1"}})
	a.set("leases", object{"metadata": meta(6, "kube-system", "n2"), "spec": object{"renewTime": "2026-11-22T15:49:51.000000Z", "holderIdentity": "other"}})
	for i := range pageSize + 3 {
		a.set("secrets", object{"metadata": meta(10+i, "full", uid(i)), "data": object{"password": "aGlkZGVu"}})
	}
	cfg := Defaults()
	cfg.Metrics = map[string]Switch{"k8s.configmap.count": {true}, "k8s.secret.count": {true}, "k8s.node.lease.renew_time": {true}, "k8s.lease.renew_time": {true}}
	r := newRig(t, cfg, a)
	f := r.interval()
	want(t, "lease of the first node", f.of("k8s.node.lease.renew_time", "k8s.node.name=n1"), "{} 1.7953625905e+09d")
	want(t, "lease of the node that has none", f.of("k8s.node.lease.renew_time", "k8s.node.name=n2"))
	want(t, "a lease that is no node's", f.of("k8s.lease.renew_time", "k8s.lease.name=n2"), "{lease_holder=other} 1.795362591e+09d")
	want(t, "secrets", f.of("k8s.secret.count", "k8s.namespace.name=full"), "{} 503")
	want(t, "secrets where there are none", f.of("k8s.secret.count", "k8s.namespace.name=empty"), "{} 0")
	want(t, "config maps", f.of("k8s.configmap.count"), "{} 0", "{} 0")
	a.mu.Lock()
	defer a.mu.Unlock()
	lists := 0
	for _, q := range a.requests {
		for _, kind := range []string{"/leases", "/secrets", "/configmaps"} {
			if strings.Contains(q, kind) {
				lists++
				if strings.Contains(q, "watch") {
					t.Errorf("watched: %s", q)
				}
			}
		}
	}
	if lists != 4 {
		t.Errorf("%d lists, want one of leases, one of ConfigMaps and two of Secrets", lists)
	}
	if accepts := a.of("secrets").accepts; !strings.Contains(accepts, "as=PartialObjectMetadataList") {
		t.Errorf("Secrets were asked for as %q", accepts)
	}
}

func TestNextSchedule(t *testing.T) {
	at := func(s string) metav1.Time {
		parsed, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return metav1.NewTime(parsed)
	}
	last := at("2026-11-22T15:45:00Z")
	for name, tc := range map[string]struct {
		schedule, zone string
		last           *metav1.Time
		suspended      bool
		want           string
	}{
		"after the last one":      {"*/10 * * * *", "", &last, false, "2026-11-22T15:50:00Z"},
		"after the creation":      {"@hourly", "", nil, false, "2026-11-20T01:00:00Z"},
		"in a zone":               {"0 3 * * *", "Asia/Kolkata", &last, false, "2026-11-22T21:30:00Z"},
		"in a zone, old form":     {"TZ=Asia/Kolkata 0 3 * * *", "", &last, false, "2026-11-22T21:30:00Z"},
		"every so often":          {"@every 90m", "", &last, false, "2026-11-22T17:15:00Z"},
		"suspended":               {"* * * * *", "", &last, true, ""},
		"never":                   {"0 0 31 2 *", "", &last, false, ""},
		"no schedule":             {"sometimes", "", &last, false, ""},
		"a zone and nothing else": {"TZ=UTC", "", &last, false, ""},
		"no such zone":            {"* * * * *", "Mars/Base", &last, false, ""},
	} {
		c := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "x", UID: "u", CreationTimestamp: at("2026-11-20T00:30:00Z")},
			Spec: batchv1.CronJobSpec{Schedule: tc.schedule, Suspend: &tc.suspended}, Status: batchv1.CronJobStatus{LastScheduleTime: tc.last}}
		if tc.zone != "" {
			c.Spec.TimeZone = &tc.zone
		}
		got := ""
		if next := nextSchedule(c); !next.IsZero() {
			got = next.UTC().Format(time.RFC3339)
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
