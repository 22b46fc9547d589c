package state

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"stint/scrape/kube/follow"
)

// customKind makes the kind of a custom resource, whose metrics have the indexes from first on.
func (s *Source) customKind(c *CustomResource, first int) (*kind, error) {
	var fields []*fieldMetric
	for i := range c.Metrics {
		f, err := c.Metrics[i].compile()
		if err != nil {
			return nil, err
		}
		f.id = metricID(first + i)
		fields = append(fields, f)
	}
	return &kind{name: c.fullName(), group: c.Group, namespaced: true, metrics: "custom", object: &unstructured.Unstructured{}, custom: c,
		row: customRows(fields, func(reason string) { s.metrics.leftOut.WithLabelValues(reason).Inc() })}, nil
}

// errScope says that a kind is in no namespace, and namespaces are all that may be read.
var errScope = errors.New("it is in no namespace, and state.namespaces is set")

// followCustom keeps the store of a custom resource up to date until ctx ends: a CRD may come while
// this runs, with other versions, and go.
func (s *Source) followCustom(ctx context.Context, st *store, namespace string) {
	told := false // that it is not there
	for retry := minRetry; ; {
		began := time.Now()
		if api, err := s.findCustom(ctx, st, namespace); err == nil {
			told = false
			s.reflect(ctx, st, namespace, api)
			_ = st.Replace(nil, "") // an empty list has no row that can't be made
		} else if ctx.Err() == nil {
			s.failing(ctx, st, namespace, err)
			if !told && missing(err) {
				told = true
				s.refused(st, namespace, err)
			}
		}
		if time.Since(began) > maxRetry {
			retry = minRetry
		}
		wait := retry + rand.N(retry)
		retry = min(2*retry, missingRetry)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// findCustom asks the server for the kind.
func (s *Source) findCustom(ctx context.Context, st *store, namespace string) (listWatch, error) {
	kinds, err := follow.Discover(ctx, s.deps.Client)
	if err != nil {
		return listWatch{}, err
	}
	c := st.kind.custom
	r, err := kinds.Find(c.Name, c.Group, c.Version)
	if err != nil {
		return listWatch{}, err
	}
	if namespace != "" && !r.Namespaced {
		return listWatch{}, errScope
	}
	res := s.deps.Client.Dynamic.Resource(schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Name})
	if namespace == "" {
		return reading(res), nil
	}
	return reading(res.Namespace(namespace)), nil
}
