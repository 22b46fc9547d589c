package state

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

func (b *builder) service(s *corev1.Service) *row {
	b.begin(&s.ObjectMeta, k8sServiceUID, k8sServiceName, k8sNamespaceName)
	b.addShared(k8sServiceType, string(s.Spec.Type))
	b.addShared(k8sServiceTraffic, or(s.Spec.TrafficDistribution, ""))
	if s.Spec.PublishNotReadyAddresses && !b.off[k8sServiceNotReady] {
		b.shared = packBool(b.shared, k8sServiceNotReady, true)
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		b.int(serviceLoadBalancerIngressCount, int64(len(s.Status.LoadBalancer.Ingress)))
	}
	if b.on[serviceInfo] {
		ip := ""
		if in := s.Status.LoadBalancer.Ingress; len(in) > 0 {
			ip = in[0].IP
		}
		b.int(serviceInfo, 1, present(kv{clusterIP, s.Spec.ClusterIP}, kv{externalName, s.Spec.ExternalName}, kv{loadBalancerIP, ip},
			kv{externalTrafficPolicy, string(s.Spec.ExternalTrafficPolicy)})...)
	}
	b.time(serviceCreatedTime, &s.CreationTimestamp)
	return b.end()
}

// endpoints counts the endpoints of services. Their slices are no objects of their own for whoever
// looks at metrics; each is kept as counts, without addresses.
type endpoints struct {
	mu       sync.Mutex // guards everything below
	services map[serviceName]map[key]*slice
	texts    map[serviceName]text // points, packed; none: to be made
	b        builder
}

type serviceName struct{ namespace, name string }

// slice is an EndpointSlice.
type slice struct {
	of     serviceName
	counts []endpointCount
}

// endpointCount is a number of endpoints of a kind.
type endpointCount struct {
	endpointKind
	n int64
}

type endpointKind struct{ address, condition, zone string }

func (b *builder) endpointSlice(e *discoveryv1.EndpointSlice) *row {
	s := &slice{of: serviceName{e.Namespace, strings.Clone(e.Labels[discoveryv1.LabelServiceName])}}
	address := unique.Make(clip(string(e.AddressType))).Value()
	add := func(condition, zone string) {
		for i := range s.counts {
			if c := &s.counts[i]; c.condition == condition && c.zone == zone {
				c.n++
				return
			}
		}
		s.counts = append(s.counts, endpointCount{endpointKind{address, condition, unique.Make(clip(zone)).Value()}, 1})
	}
	for i := range e.Endpoints {
		p := &e.Endpoints[i]
		zone := or(p.Zone, "")
		// An unknown readiness is to be taken for ready (discovery/v1, EndpointConditions).
		if or(p.Conditions.Ready, true) {
			add("ready", zone)
		}
		if or(p.Conditions.Serving, or(p.Conditions.Ready, true)) {
			add("serving", zone)
		}
		if or(p.Conditions.Terminating, false) {
			add("terminating", zone)
		}
	}
	return &row{key: keyOf(&e.ObjectMeta), shared: noText, owner: noOwner, slice: s}
}

// change takes a slice in place of one that there was; nil: there was or is none.
func (e *endpoints) change(k key, old, now *slice) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if old != nil {
		delete(e.texts, old.of)
		if of := e.services[old.of]; of != nil {
			if delete(of, k); len(of) == 0 {
				delete(e.services, old.of)
			}
		}
	}
	if now != nil && now.of.name != "" {
		delete(e.texts, now.of)
		if e.services[now.of] == nil {
			e.services[now.of] = map[key]*slice{}
		}
		e.services[now.of][k] = now
	}
}

// complete gives the row of a service with the points of its endpoints: the same if it has them.
func (e *endpoints) complete(r *row) *row {
	return r.with(e.points(r.service()))
}

// with gives the row with points that come from elsewhere, and no others of that kind.
func (r *row) with(points text) *row {
	switch {
	case len(r.subs) == 1 && r.subs[0].points == points, len(r.subs) == 0 && points == noText:
		return r
	}
	c := *r
	c.subs = nil
	if points != noText {
		c.subs = []sub{{shared: noText, points: points}}
	}
	return &c
}

// service reads the name of a service out of its row.
func (r *row) service() serviceName {
	namespace, _ := nextAttr(r.shared.Value())
	return serviceName{namespace.bytes, r.name()}
}

// name reads the name of an object with a uid out of its row.
func (r *row) name() string {
	_, rest := nextAttr(r.own)
	name, _ := nextAttr(rest)
	return name.bytes
}

// points are those of a service, packed.
func (e *endpoints) points(of serviceName) text {
	e.mu.Lock()
	defer e.mu.Unlock()
	slicesOf := e.services[of]
	if len(slicesOf) == 0 {
		return noText
	}
	if t, ok := e.texts[of]; ok {
		return t
	}
	sums := map[endpointKind]int64{}
	for _, s := range slicesOf {
		for _, c := range s.counts {
			sums[c.endpointKind] += c.n
		}
	}
	e.b.points = e.b.points[:0]
	for _, k := range slices.SortedFunc(maps.Keys(sums), func(x, y endpointKind) int {
		return cmp.Or(cmp.Compare(x.address, y.address), cmp.Compare(x.condition, y.condition), cmp.Compare(x.zone, y.zone))
	}) {
		e.b.int(serviceEndpointCount, sums[k], present(kv{endpointCondition, k.condition}, kv{endpointAddressType, k.address}, kv{endpointZone, k.zone})...)
	}
	t := unique.Make(e.b.tidy(e.b.points))
	e.texts[serviceName{strings.Clone(of.namespace), strings.Clone(of.name)}] = t
	return t
}
