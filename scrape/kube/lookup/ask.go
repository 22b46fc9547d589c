package lookup

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"stint/export/otlp"
	"stint/scrape/kubelet"
)

const (
	// askers ask about names at a time.
	askers = 4
	// askTimeout is how long an answer may take.
	askTimeout = 10 * time.Second
	// rest is how many times as long as a search through all pods took the next one waits: in a large cluster it
	// takes the API server a tenth of a second.
	rest = 9
)

// Run asks until ctx ends.
func (l *Lookup) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range askers {
		wg.Go(func() { l.asking(ctx, l.names, 0) })
	}
	wg.Go(func() { l.asking(ctx, l.addresses, rest) })
	wg.Wait()
}

func (l *Lookup) asking(ctx context.Context, questions <-chan key, rest time.Duration) {
	for {
		select {
		case k := <-questions:
			begin := time.Now()
			searched := l.answer(ctx, k)
			if searched {
				pause := time.NewTimer(rest * time.Since(begin))
				select {
				case <-pause.C:
				case <-ctx.Done():
				}
				pause.Stop()
			}
		case <-ctx.Done():
			return
		}
	}
}

// answer asks the API server and writes down what it says. searched: it had to look through all pods.
func (l *Lookup) answer(ctx context.Context, k key) (searched bool) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	l.mu.Lock()
	e := l.entries[k] // it is not forgotten while it is asked
	was := e.answer
	l.mu.Unlock()
	var a answer
	var err error
	switch k.kind {
	case address:
		a, searched, err = l.ofAddress(ctx, k.name, was)
	case pod:
		var p *corev1.Pod
		if p, err = l.client.Typed.CoreV1().Pods(k.namespace).Get(ctx, k.name, cached); err == nil {
			a, err = l.ofPod(ctx, p)
		} else if apierrors.IsNotFound(err) {
			err = nil
		}
	default:
		a, err = l.ofPlace(ctx, k)
	}
	if err != nil && ctx.Err() == nil || errors.Is(err, context.DeadlineExceeded) {
		l.log.Warn("the API server does not tell what a request comes from; it goes on without; does the role stint-cluster-enrich apply?", "err", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if e.asked, e.failed = false, err != nil; err != nil {
		e.again = now.Add(failedFor)
	} else {
		e.at, e.answer = now, a
	}
	close(e.known)
	return searched
}

// ofPlace is what a namespace or a node adds.
func (l *Lookup) ofPlace(ctx context.Context, k key) (answer, error) {
	resource, prefix, globs := "namespaces", "k8s.namespace.label.", l.cfg.NamespaceLabels
	if k.kind == node {
		resource, prefix, globs = "nodes", "k8s.node.label.", l.cfg.NodeLabels
	}
	m, err := l.client.Metadata.Resource(corev1.SchemeGroupVersion.WithResource(resource)).Get(ctx, k.name, cached)
	if apierrors.IsNotFound(err) {
		return answer{}, nil
	}
	if err != nil {
		return answer{}, err
	}
	return answerOf(labels(nil, prefix, m.Labels, globs)), nil
}

// place is ofPlace, or what is known already.
func (l *Lookup) place(ctx context.Context, k key) (answer, error) {
	l.mu.Lock()
	e := l.entries[k]
	if e != nil && !e.at.IsZero() && time.Since(e.at) < goodFor {
		defer l.mu.Unlock()
		e.used = time.Now()
		return e.answer, nil
	}
	l.mu.Unlock()
	a, err := l.ofPlace(ctx, k)
	if err != nil {
		return answer{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e = l.entries[k]; e == nil {
		l.makeRoom()
		e = &entry{}
		l.entries[k] = e
	}
	e.at, e.used, e.answer = time.Now(), time.Now(), a
	return a, nil
}

// cached lets the API server answer from its memory.
var cached = metav1.GetOptions{ResourceVersion: "0"}

// ofAddress is the pod that has an address. One that had it when was became known is looked at first.
func (l *Lookup) ofAddress(ctx context.Context, ip string, was answer) (_ answer, searched bool, err error) {
	if was.of.kind == pod {
		p, err := l.client.Typed.CoreV1().Pods(was.of.namespace).Get(ctx, was.of.name, cached)
		switch {
		case err == nil && string(p.UID) == was.uid && has(p, ip):
			a, err := l.ofPod(ctx, p)
			a.of = was.of
			return a, false, err
		case err != nil && !apierrors.IsNotFound(err):
			return answer{}, false, err
		}
	}
	list, err := l.client.Typed.CoreV1().Pods("").List(ctx, metav1.ListOptions{ResourceVersion: "0", FieldSelector: fields.OneTermEqualSelector("status.podIP", ip).String()})
	if err != nil {
		return answer{}, true, err
	}
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return !has(&p, ip) })
	if len(pods) != 1 {
		return answer{}, true, nil
	}
	a, err := l.ofPod(ctx, &pods[0])
	a.of = key{pod, pods[0].Namespace, pods[0].Name}
	return a, true, err
}

// has says whether a pod has an address for itself: it has not when it has ended, or uses its node's.
func has(p *corev1.Pod, ip string) bool {
	return p.Status.PodIP == ip && !p.Spec.HostNetwork && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}

// ofPod is what a pod adds, with its namespace and its node.
func (l *Lookup) ofPod(ctx context.Context, p *corev1.Pod) (answer, error) {
	attrs := []otlp.KeyValue{
		otlp.Attr("k8s.namespace.name", p.Namespace), otlp.Attr("k8s.pod.name", p.Name), otlp.Attr("k8s.pod.uid", string(p.UID)),
	}
	if p.Status.StartTime != nil {
		attrs = append(attrs, otlp.Attr("k8s.pod.start_time", p.Status.StartTime.UTC().Format(time.RFC3339)))
	}
	if p.Spec.NodeName != "" {
		attrs = append(attrs, otlp.Attr("k8s.node.name", p.Spec.NodeName))
	}
	k := kubelet.Pod{Labels: p.Labels}
	if o := metav1.GetControllerOf(p); o != nil {
		k.Owner.Kind, k.Owner.Name = o.Kind, o.Name
	}
	for _, w := range k.Workload() {
		attrs = append(attrs, otlp.Attr(w.Key, w.Value))
	}
	attrs = labels(attrs, "k8s.pod.label.", p.Labels, l.cfg.PodLabels)
	for _, of := range []struct {
		key    key
		wanted bool
	}{
		{key{kind: namespace, name: p.Namespace}, len(l.cfg.NamespaceLabels) > 0},
		{key{kind: node, name: p.Spec.NodeName}, len(l.cfg.NodeLabels) > 0 && p.Spec.NodeName != ""},
	} {
		if !of.wanted {
			continue
		}
		a, err := l.place(ctx, of.key)
		if err != nil {
			return answer{}, err
		}
		attrs = append(attrs, a.attrs...)
	}
	a := answerOf(attrs)
	a.uid = string(p.UID)
	return a, nil
}

// labels appends those that match, in order.
func labels(attrs []otlp.KeyValue, prefix string, all map[string]string, globs []string) []otlp.KeyValue {
	n := len(attrs)
	for k, v := range all {
		if slices.ContainsFunc(globs, func(g string) bool { ok, _ := path.Match(g, k); return ok }) {
			attrs = append(attrs, otlp.Attr(prefix+k, v))
		}
	}
	slices.SortFunc(attrs[n:], func(a, b otlp.KeyValue) int { return strings.Compare(a.Key, b.Key) })
	return attrs
}

// answerOf adds attributes, as far as there are none of their keys.
func answerOf(attrs []otlp.KeyValue) answer {
	attrs = attrs[:min(len(attrs), otlp.MaxActions)]
	if len(attrs) == 0 {
		return answer{}
	}
	actions := make([]otlp.Action, len(attrs))
	for i, a := range attrs {
		actions[i] = otlp.Action{Op: otlp.Insert, KeyValue: a}
	}
	return answer{editor: otlp.NewEditor(actions), attrs: attrs}
}
