package cluster

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// eventTimeout is how long the API server may take for an event.
	eventTimeout = 3 * time.Second
	// maxEvents is how many may be under way; leaders do not change so often.
	maxEvents = 4
	// maxNote is what the API server takes of an event's text.
	maxNote = 1024
)

// leaseEvents writes events about the lease, which kubectl describe lease shows. Nothing depends on them: one that can't
// be written, or not soon, is left out.
type leaseEvents struct {
	client   kubernetes.Interface
	cfg      Leader
	log      *slog.Logger
	underWay chan struct{}
	wg       sync.WaitGroup
}

func newLeaseEvents(client kubernetes.Interface, cfg Leader, log *slog.Logger) *leaseEvents {
	return &leaseEvents{client: client, cfg: cfg, log: log, underWay: make(chan struct{}, maxEvents)}
}

// tell does not wait.
func (e *leaseEvents) tell(reason, note string) {
	select {
	case e.underWay <- struct{}{}:
	default:
		return
	}
	e.wg.Go(func() {
		defer func() { <-e.underWay }()
		ctx, cancel := context.WithTimeout(context.Background(), eventTimeout)
		defer cancel()
		if err := e.write(ctx, reason, note); err != nil {
			e.log.Warn("an event about the lease can't be written; nothing else depends on it", "err", err,
				"rule", `{apiGroups: [""], resources: [events], verbs: [create]} in a Role in `+e.cfg.LeaseNamespace)
		}
	})
}

func (e *leaseEvents) write(ctx context.Context, reason, note string) error {
	lease, err := e.client.CoordinationV1().Leases(e.cfg.LeaseNamespace).Get(ctx, e.cfg.LeaseName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	now := metav1.Now()
	_, err = e.client.CoreV1().Events(e.cfg.LeaseNamespace).Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: e.cfg.LeaseName + ".", Namespace: e.cfg.LeaseNamespace},
		InvolvedObject: corev1.ObjectReference{ // by all of these kubectl describe looks for it
			APIVersion: "coordination.k8s.io/v1", Kind: "Lease", Namespace: e.cfg.LeaseNamespace, Name: e.cfg.LeaseName, UID: lease.UID,
		},
		Type: corev1.EventTypeNormal, Reason: reason, Message: strings.ToValidUTF8(note[:min(len(note), maxNote)], ""),
		Source: corev1.EventSource{Component: "stint-cluster"}, FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}, metav1.CreateOptions{})
	return err
}

// wait waits for what is under way.
func (e *leaseEvents) wait() { e.wg.Wait() }
