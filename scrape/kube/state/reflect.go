package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"stint/scrape/kube"
	"stint/scrape/kube/follow"
)

const (
	// pageSize is how many objects a list asks for at once: 500 pods of 10 KB.
	pageSize = 500
	// A list that failed is tried again after these, doubled each time.
	minRetry = 800 * time.Millisecond
	maxRetry = 30 * time.Second
	// missingRetry is the most for a kind that the server does not have, or not for us. It begins like
	// the others: a server that has just started does not know its roles for some milliseconds, and
	// refuses everything.
	missingRetry = 5 * time.Minute
	// tellRefusals is after how many refusals that is said; some 4 s.
	tellRefusals = 3
)

// reflect keeps a store up to date until ctx ends, or a CRD is gone.
func (s *Source) reflect(ctx context.Context, st *store, namespace string, api listWatch) {
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			// The reflector asks for what the server's cache has, all of it in one answer: 1.5 GB of
			// pods. Pages need the exact version, or none.
			if o.Continue == "" {
				o.ResourceVersion, o.ResourceVersionMatch = "", ""
			}
			o.Limit = pageSize
			page, err := api.list(ctx, o)
			if err != nil {
				s.failing(ctx, st, namespace, err)
				return nil, err
			}
			s.working(st, namespace)
			return st.toRows(page)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := api.watch(ctx, o)
			switch {
			case err == nil:
				s.working(st, namespace)
			case o.SendInitialEvents == nil || !unsupported(err):
				s.failing(ctx, st, namespace, err)
			}
			return w, err
		},
	}
	r := cache.NewReflectorWithOptions(lw, st.kind.object, st, cache.ReflectorOptions{
		Name: "state", TypeDescription: st.kind.name, Clock: hurryClock{ctx: ctx},
	})
	retry, refusals := minRetry, 0
	for {
		began := time.Now()
		err := r.ListAndWatchWithContext(ctx)
		if time.Since(began) > maxRetry {
			retry = minRetry
		}
		if st.kind.custom != nil && apierrors.IsNotFound(err) {
			return
		}
		wait, most := retry+rand.N(retry), maxRetry
		if err != nil && missing(err) {
			most = missingRetry
			if refusals++; refusals == tellRefusals {
				s.refused(st, namespace, err)
			}
		} else {
			refusals = 0
		}
		retry = min(2*retry, most)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// hurryClock ends the reflector's waits with ctx: some of them do not look at it.
type hurryClock struct {
	clock.RealClock
	ctx context.Context
}

// After implements clock.Clock.
func (c hurryClock) After(d time.Duration) <-chan time.Time {
	ch := make(chan time.Time, 1)
	wait, cancel := context.WithTimeout(c.ctx, d)
	context.AfterFunc(wait, func() {
		cancel()
		ch <- time.Now()
	})
	return ch
}

// missing says whether the server does not have a kind, or not for us.
func missing(err error) bool {
	return errors.Is(err, follow.ErrNoResource) || errors.Is(err, errScope) || apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsNotAcceptable(err)
}

// unsupported says whether the server can't stream a list, so that pages are asked for.
func unsupported(err error) bool { return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) }

// failing tells that a kind can't be read. That it may not be is said by refused, later.
func (s *Source) failing(ctx context.Context, st *store, namespace string, err error) {
	if ctx.Err() != nil {
		return
	}
	s.metrics.failures.WithLabelValues(st.kind.name).Inc()
	s.deps.Progress.Listed(st.part(namespace), err)
	st.fail()
	if !missing(err) && st.tell() {
		log := s.log(st, namespace)
		log.Warn("a kind of object can't be read; what is known of it is still sent", "err", err)
	}
}

// refused says that a kind is missing, once until it can be read, and ends its series: what was known of it is true no more,
// for all that can be known.
func (s *Source) refused(st *store, namespace string, err error) {
	_ = st.Replace(nil, "") // an empty list has no row that can't be made
	st.tell()
	log := s.log(st, namespace)
	if apierrors.IsForbidden(err) {
		log.Error("not allowed to read a kind of object; its metrics are missing", "rule", st.kind.rule(), "role", st.kind.role(namespace), "retry_every", missingRetry, "err", err)
	} else {
		log.Warn("the API server does not have a kind of object; its metrics are missing", "retry_every", missingRetry, "err", err)
	}
}

// working tells that a kind was listed, or that a watch of it began.
func (s *Source) working(st *store, namespace string) {
	s.deps.Progress.Listed(st.part(namespace), nil)
	if st.work() {
		log := s.log(st, namespace)
		log.Info("a kind of object can be read again")
	}
}

func (s *Source) log(st *store, namespace string) *slog.Logger {
	log := s.deps.Log.With("kind", st.kind.name)
	if namespace != "" {
		log = log.With("namespace", namespace)
	}
	return log
}

// part names what a store holds.
func (s *store) part(namespace string) string {
	if namespace == "" {
		return s.kind.name
	}
	return namespace + "/" + s.kind.name
}

// rule is what has to stand in a role.
func (k *kind) rule() string {
	verbs := "list, watch"
	if k.tally != nil {
		verbs = "list"
	}
	name := k.name
	if k.custom != nil {
		name = k.custom.Name
	}
	return fmt.Sprintf("{apiGroups: [%q], resources: [%s], verbs: [%s]}", k.group, name, verbs)
}

// Rules are what roles must allow for a configuration.
func Rules(cfg Config) (all []kube.Rule) {
	on, namespaces := cfg.on(), cfg.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	add := func(group, name string, verbs ...string) {
		for _, ns := range namespaces {
			all = append(all, kube.Rule{Group: group, Resource: name, Namespace: ns, Verbs: verbs})
		}
	}
	for _, k := range watched(on) {
		switch {
		case !k.namespaced && len(cfg.Namespaces) > 0: // left out then
		case k.tally != nil:
			add(k.group, k.name, "list")
		default:
			add(k.group, k.name, "list", "watch")
		}
	}
	for _, c := range cfg.CustomResources {
		add(c.Group, c.Name, "list", "watch")
	}
	return all
}

// role is the kind of role that it has to stand in.
func (k *kind) role(namespace string) string {
	if namespace == "" {
		return "ClusterRole"
	}
	return "Role"
}
