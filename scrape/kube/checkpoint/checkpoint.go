// Package checkpoint keeps what a source of the leader must know after a restart or by the next
// leader: a few hundred KB in a ConfigMap.
//
// A ConfigMap has one writer: whoever opened it last. Each write bears the term of the leader and
// names the version that it replaces. A leader that lost its lease without noticing finds another
// version there, and in it a later term: its write fails, and it is told so.
package checkpoint

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"

	"stint/scrape/kube"
)

const (
	// Every is the shortest time between two writes: what a crash may repeat.
	Every = 5 * time.Second
	// MaxBytes is what is kept of a state, compressed: a ConfigMap is at most 1 MiB in base64.
	MaxBytes = 900 << 10 / 4 * 3
	// maxState bounds what a broken or hostile ConfigMap unpacks to.
	maxState = 16 << 20
	timeout  = 4 * time.Second
)

// ErrFenced says that a later leader has the checkpoint.
var ErrFenced = errors.New("another leader has the checkpoint")

// The keys of the ConfigMap.
const (
	keyAbout = "about"    // JSON, for people, too
	keyState = "state.gz" // gzip, which has a checksum
)

// about says whose a checkpoint is.
type about struct {
	Version int    `json:"version"`
	Cluster string `json:"cluster"` // uid of the namespace kube-system
	Term    int64  `json:"term"`
	Writer  string `json:"writer"` // random, one each Open
}

const version = 1

// Store is one ConfigMap. Open it at the start of each term; Save is for one goroutine at a time.
type Store struct {
	client          kubernetes.Interface
	namespace, name string
	log             *slog.Logger
	writes          *prometheus.CounterVec
	size            prometheus.Gauge

	mu    sync.Mutex // guards everything below
	about about
	rv    string // of the ConfigMap; "": there is none
	last  []byte // state of the last write
	state []byte // compressed
}

// Check reports what is wrong with the name and the namespace of a source's checkpoint.
func Check(fault func(format string, args ...any), source, name, namespace string) {
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		fault("%s.checkpoint_name: %q is no name of a ConfigMap; give small letters, digits, - and ., e.g. stint-cluster-%s", source, name, source)
	}
	if namespace != "" && len(validation.IsDNS1123Label(namespace)) > 0 {
		fault("%s.checkpoint_namespace: %q is no name of a namespace; give small letters, digits and -", source, namespace)
	}
}

// New asks nothing yet. source is the label of its metrics.
func New(client kubernetes.Interface, namespace, name, source string, log *slog.Logger, reg prometheus.Registerer) *Store {
	s := &Store{client: client, namespace: namespace, name: name, log: log}
	s.writes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name:        "stint_checkpoint_writes_total",
		Help:        "Writes of a checkpoint into its ConfigMap, by outcome: ok, error (tried again), fenced (a later leader has it).",
		ConstLabels: prometheus.Labels{"source": source},
	}, []string{"outcome"})
	s.size = prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "stint_checkpoint_bytes",
		Help:        "Size of the checkpoint in its ConfigMap, in bytes; at most 691,200.",
		ConstLabels: prometheus.Labels{"source": source},
	})
	reg.MustRegister(s.writes, s.size)
	return s
}

// Open takes the checkpoint over and returns its state, nil when there is none that can be used:
// lost says why then, empty: there never was one. It writes at once, so that a leader of before finds
// out. Faults of the API server are tried again until ctx ends.
func (s *Store) Open(ctx context.Context, term int64) (state []byte, lost string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = nil
	s.about = about{Version: version, Term: term, Writer: rand.Text()}
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		state, lost, err = s.open(ctx)
		if err == nil || errors.Is(err, ErrFenced) || ctx.Err() != nil {
			return state, lost, err
		}
		s.log.Warn("checkpoint can't be opened; it is tried again", "configmap", s.namespace+"/"+s.name, "err", err, "rule", s.rule())
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, "", ctx.Err()
		}
	}
}

// Rules are what roles must allow for a checkpoint. One with names cannot allow create.
func Rules(name, namespace string) []kube.Rule {
	return []kube.Rule{
		{Resource: "configmaps", Name: name, Namespace: namespace, Verbs: []string{"get", "update"}},
		{Resource: "configmaps", Namespace: namespace, Verbs: []string{"create"}},
	}
}

func (s *Store) rule() string {
	r := Rules(s.name, s.namespace)
	return r[0].String() + " and " + r[1].String()
}

func (s *Store) open(ctx context.Context) (state []byte, lost string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if ns, err := s.client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{}); err == nil {
		s.about.Cluster = string(ns.UID)
	} else if !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
		return nil, "", err
	} // else one cluster is not told from another; a version of the future still gives it away
	cm, err := s.client.CoreV1().ConfigMaps(s.namespace).Get(ctx, s.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		s.rv, s.state = "", nil
	case err != nil:
		return nil, "", err
	default:
		s.rv = cm.ResourceVersion
		var of about
		if state, of, err = read(cm); err != nil {
			state, lost = nil, err.Error()
		} else if of.Cluster != "" && s.about.Cluster != "" && of.Cluster != s.about.Cluster {
			state, lost = nil, "it is of another cluster"
		} else if of.Term > s.about.Term && of.Cluster != "" {
			// The lease was deleted and begins to count anew; whoever holds it now is the later one.
			s.about.Term = of.Term
		}
		s.state = cm.BinaryData[keyState]
		if lost != "" {
			s.log.Error("checkpoint can't be used; it begins anew: what happened since may be missing or come twice", "configmap", s.namespace+"/"+s.name, "err", lost)
			s.state = nil
		}
	}
	return state, lost, s.write(ctx)
}

// read unpacks a checkpoint.
func read(cm *corev1.ConfigMap) ([]byte, about, error) {
	var a about
	if err := json.Unmarshal([]byte(cm.Data[keyAbout]), &a); err != nil {
		return nil, a, fmt.Errorf("%s: %w", keyAbout, err)
	}
	if a.Version != version {
		return nil, a, fmt.Errorf("%s: version %d is not known", keyAbout, a.Version)
	}
	if len(cm.BinaryData[keyState]) == 0 {
		return nil, a, nil // opened, and nothing came of it
	}
	z, err := gzip.NewReader(bytes.NewReader(cm.BinaryData[keyState]))
	if err != nil {
		return nil, a, fmt.Errorf("%s: %w", keyState, err)
	}
	state, err := io.ReadAll(io.LimitReader(z, maxState+1))
	if err != nil {
		return nil, a, fmt.Errorf("%s: %w", keyState, err)
	}
	if len(state) > maxState {
		return nil, a, fmt.Errorf("%s: more than %d bytes", keyState, maxState)
	}
	return state, a, nil
}

// Save writes a state if it is another than the last one. The error wraps ErrFenced when a later
// leader has the checkpoint; any other may be tried again.
func (s *Store) Save(ctx context.Context, state []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil && bytes.Equal(s.last, state) {
		return nil
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_, _ = z.Write(state)
	_ = z.Close()
	if b.Len() > MaxBytes {
		s.writes.WithLabelValues("error").Inc()
		return fmt.Errorf("checkpoint of %d bytes is over %d", b.Len(), MaxBytes)
	}
	s.state = b.Bytes()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := s.write(ctx); err != nil {
		return err
	}
	s.last = bytes.Clone(state)
	s.size.Set(float64(len(s.state)))
	return nil
}

// Keep saves what state returns, each time that every has passed, until ctx ends: nil, or until a
// later leader has the checkpoint.
func (s *Store) Keep(ctx context.Context, every time.Duration, state func() []byte) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		err := s.Save(ctx, state())
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, ErrFenced):
			return err
		default:
			s.log.Warn("checkpoint can't be saved; after a restart what was sent since the last one is sent again", "err", err, "rule", s.rule())
		}
	}
}

// write needs s.mu.
func (s *Store) write(ctx context.Context) (err error) {
	defer func() {
		outcome := "ok"
		if errors.Is(err, ErrFenced) {
			outcome = "fenced"
		} else if err != nil {
			outcome = "error"
		}
		s.writes.WithLabelValues(outcome).Inc()
	}()
	text, err := json.Marshal(s.about)
	if err != nil {
		return err
	}
	maps := s.client.CoreV1().ConfigMaps(s.namespace)
	for range 3 {
		cm := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: s.name, Namespace: s.namespace, ResourceVersion: s.rv, Labels: map[string]string{"app.kubernetes.io/managed-by": "stint-cluster"}},
			Data:       map[string]string{keyAbout: string(text)}, BinaryData: map[string][]byte{keyState: s.state},
		}
		var got *corev1.ConfigMap
		if s.rv == "" {
			got, err = maps.Create(ctx, cm, metav1.CreateOptions{})
		} else {
			got, err = maps.Update(ctx, cm, metav1.UpdateOptions{})
		}
		switch {
		case err == nil:
			s.rv = got.ResourceVersion
			return nil
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
			if err := s.look(ctx); err != nil {
				return err
			}
		default:
			return fmt.Errorf("write checkpoint %s/%s: %w", s.namespace, s.name, err)
		}
	}
	return fmt.Errorf("write checkpoint %s/%s: %w", s.namespace, s.name, err)
}

// look finds out who wrote meanwhile: we ourselves, if the answer got lost; somebody by hand; or a
// later leader.
func (s *Store) look(ctx context.Context) error {
	cm, err := s.client.CoreV1().ConfigMaps(s.namespace).Get(ctx, s.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		s.rv = ""
		return nil
	}
	if err != nil {
		return fmt.Errorf("read checkpoint %s/%s: %w", s.namespace, s.name, err)
	}
	if _, of, err := read(cm); err == nil && of.Writer != s.about.Writer && of.Term >= s.about.Term {
		return fmt.Errorf("%w: %s/%s is of term %d, this is term %d", ErrFenced, s.namespace, s.name, of.Term, s.about.Term)
	}
	s.rv = cm.ResourceVersion
	return nil
}
