package objects

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"stint/export/otlp"
	"stint/scrape/kube/follow"
	"stint/scrape/kube/rawjson"
)

const (
	// maxBody bounds what becomes of one object: servers take 4 MiB in one message.
	maxBody = 1 << 20
	// maxAge is how old a change may be by the API server's clock so that its time is taken: many
	// servers refuse what is older.
	maxAge = time.Hour
)

// secretDrop is what never leaves of a Secret. The annotation holds its data once more.
var secretDrop = []string{"data", "stringData", "metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]"}

// target follows one kind of object in one namespace, or in all.
type target struct {
	s        *Source
	r        Resource
	key      string
	follower *follow.Follower
	drop     *rawjson.Paths
	lane     uint32
	fail     context.CancelCauseFunc // ends the term

	ledger  follow.Ledger[struct{}]
	settled chan struct{} // of capacity 1: something was acknowledged

	buf, attrs, head []byte // reused

	mu   sync.Mutex // guards below
	pull pull
}

// pull is how far pulling is; it lies in the checkpoint.
type pull struct {
	Started  int64           `json:"started,omitempty"` // of the last pull, unix seconds
	Snapshot string          `json:"snapshot,omitempty"`
	At       follow.Position `json:"at,omitzero"` // of one under way
}

func newTarget(s *Source, i int, found follow.Resource, namespace string) *target {
	r := s.cfg.Resources[i]
	t := &target{s: s, r: r, key: r.key(namespace), drop: s.drops[i], settled: make(chan struct{}, 1), fail: s.fail}
	of := follow.Target{Resource: found, Namespace: namespace, LabelSelector: r.LabelSelector, FieldSelector: r.FieldSelector}
	t.follower = &follow.Follower{API: s.api, Target: of, Handler: t, Initial: r.initial(), Progress: s.d.Progress, Log: s.d.Log, Idle: s.idle, Page: s.page}
	if found.Group == "" && found.Name == "secrets" {
		t.drop, _ = rawjson.ParsePaths(slices.Concat(s.cfg.Drop, r.Drop, secretDrop)) // all of them were checked
	}
	h := fnv.New32a()
	h.Write([]byte(found.FullName()))
	t.lane = h.Sum32()
	t.head = otlp.AppendAttrs(nil, 1, []otlp.KeyValue{otlp.Attr("apiVersion", found.APIVersion()), otlp.Attr("kind", found.Kind)})
	return t
}

// watched is how far a watch is; it lies in the checkpoint. The first version of it had no objects.
type watched struct {
	follow.Position
	Objects *follow.Objects `json:"objects,omitempty"` // that there were then; nil: not known, or too many
}

// run works until ctx ends or there is no such kind any more.
func (t *target) run(ctx context.Context, lost string) error {
	kept := t.s.last(t.key)
	if t.r.watches() {
		var was watched
		if err := json.Unmarshal(kept, &was); err != nil && kept != nil {
			lost, was = err.Error(), watched{}
		}
		at := was.Position
		if !slices.Contains(t.r.ExcludeWatchType, follow.Deleted) {
			t.follower.Know(was.Objects)
		}
		t.ledger.Reset(at)
		t.publish(func() any {
			if at := t.ledger.Frontier(); at != (follow.Position{}) {
				return &watched{at, t.follower.Objects(at)}
			}
			return nil
		})
		if lost != "" && at.Version == "" {
			if err := t.gap(ctx, "checkpoint", "What was followed before is not known any more: "+lost, "", ""); err != nil {
				return err
			}
		}
		return t.follower.Run(ctx, at)
	}
	if err := json.Unmarshal(kept, &t.pull); err != nil && kept != nil {
		t.pull = pull{}
	}
	t.publish(func() any {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.pull
	})
	for ctx.Err() == nil {
		t.mu.Lock()
		p := t.pull
		t.mu.Unlock()
		if !p.At.Listing {
			due := time.Until(time.Unix(p.Started, 0).Add(t.r.interval()))
			if due > 0 && due <= t.r.interval() { // later: the clock was set back
				timer := time.NewTimer(due)
				select {
				case <-timer.C:
				case <-ctx.Done():
					timer.Stop()
					return nil
				}
			}
			p = pull{Started: time.Now().Unix(), Snapshot: strings.ToLower(rand.Text()[:16]), At: follow.Position{Listing: true}}
			t.mu.Lock()
			t.pull = p
			t.mu.Unlock()
		}
		if err := t.follower.Once(ctx, p.At); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// publish says how to get what the checkpoint keeps.
func (t *target) publish(state func() any) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.states[t.key] = state
}

// Pass implements follow.Handler. Of a pull it waits until the page is acknowledged.
func (t *target) Pass(ctx context.Context, p follow.Position) error {
	if t.r.PullEnd && !p.Listing {
		if err := t.pulled(ctx, p); err != nil {
			return err
		}
	}
	t.ledger.Pass(p)
	if t.r.watches() {
		return nil
	}
	t.s.emitter.Flush()
	for t.ledger.Len() > 0 {
		select {
		case <-t.settled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	t.mu.Lock()
	t.pull.At = p
	t.mu.Unlock()
	return nil
}

// pulled says that a snapshot is complete: what was in the one before and is not in it is gone.
func (t *target) pulled(ctx context.Context, p follow.Position) error {
	t.mu.Lock()
	snapshot := t.pull.Snapshot
	t.mu.Unlock()
	now := uint64(time.Now().UnixNano())
	return t.add(ctx, t.follower.Target.Namespace, &otlp.LogRecord{
		Time: now, Observed: now, Severity: 9, SeverityText: "INFO", Body: []byte("All objects of the snapshot were sent."), EventName: "stint.pull.end",
		Attrs: otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, []otlp.KeyValue{
			otlp.Attr("k8s.resource.name", t.follower.Target.Name), otlp.Attr("event.domain", "k8s"),
			otlp.Attr("k8s.snapshot.id", snapshot), {Key: "k8s.snapshot.consistent", Value: otlp.Bool(!p.Mixed)},
		}),
	})
}

// Settled implements otlp.Origin.
func (t *target) Settled(c *otlp.Chunk, o otlp.Outcome) {
	if o == otlp.Aborted {
		t.fail(follow.ErrAborted)
		return
	}
	t.ledger.Done(c.Mark, c.Records, nil)
	select {
	case t.settled <- struct{}{}:
	default:
	}
}

// Skipped implements follow.Handler.
func (t *target) Skipped(err error) {
	t.s.metrics.skipped.Inc()
	t.s.d.Log.Warn("an object can't be read and is left out", "kind", t.follower.Target.String(), "err", err)
}

// Gap implements follow.Handler.
func (t *target) Gap(ctx context.Context, g follow.Gap, from, to string) error {
	text := "The API server does not know any more what happened, and which objects there were before is not in the checkpoint, as of a kind that has very many: deletions may be missing."
	if g == follow.GapFuture {
		text = "What was followed before is of another time line, as after etcd was restored from a backup: changes may be missing."
	}
	return t.gap(ctx, string(g), text, from, to)
}

func (t *target) gap(ctx context.Context, reason, text, from, to string) error {
	t.s.metrics.gaps.Inc()
	kvs := []otlp.KeyValue{
		otlp.Attr("k8s.resource.name", t.follower.Target.Name), otlp.Attr("event.domain", "k8s"), otlp.Attr("stint.watch.gap.reason", reason),
	}
	for _, kv := range []otlp.KeyValue{otlp.Attr("stint.watch.gap.from", from), otlp.Attr("stint.watch.gap.to", to)} {
		if kv.Value.Text() != "" {
			kvs = append(kvs, kv)
		}
	}
	now := uint64(time.Now().UnixNano())
	return t.add(ctx, t.follower.Target.Namespace, &otlp.LogRecord{
		Time: now, Observed: now, Severity: 13, SeverityText: "WARN", Body: []byte(text), EventName: "stint.watch.gap",
		Attrs: otlp.AppendAttrs(nil, otlp.AttrsOfLogRecord, kvs),
	})
}

// Take implements follow.Handler.
func (t *target) Take(ctx context.Context, c *follow.Change) error {
	if t.r.excluded(c.Namespace) || t.r.watches() && slices.Contains(t.r.ExcludeWatchType, c.Type) {
		return nil
	}
	if !t.s.d.Live() {
		t.fail(follow.ErrAborted)
		return follow.ErrAborted
	}
	cut, err := t.body(c)
	if err != nil {
		if errors.Is(err, rawjson.ErrSyntax) {
			t.Skipped(fmt.Errorf("%s/%s: %w", c.Namespace, c.Name, err))
			return nil
		}
		return err
	}
	if cut {
		t.s.metrics.truncated.Inc()
	}
	now := time.Now()
	at := now
	if !c.Listed && c.Type != follow.Deleted && c.Changed.Before(now) && now.Sub(c.Changed) < maxAge {
		at = c.Changed
	}
	t.attributes(c, cut)
	return t.add(ctx, c.Namespace, &otlp.LogRecord{Time: uint64(at.UnixNano()), Observed: uint64(now.UnixNano()), BodyValue: t.buf, Attrs: t.attrs})
}

// add hands a record on under a mark of its own.
func (t *target) add(ctx context.Context, namespace string, r *otlp.LogRecord) error {
	t.s.metrics.records.WithLabelValues(t.follower.Target.FullName()).Inc()
	to := follow.Address{Group: t.s.group(namespace), Lane: t.lane, Origin: t, Mark: t.ledger.Open(struct{}{})}
	return t.s.emitter.Add(ctx, to, r)
}

// body encodes the body into t.buf: the object, and of a watch {type, object}.
func (t *target) body(c *follow.Change) (cut bool, err error) {
	if cap(t.buf) > 2*maxBody {
		t.buf = nil
	}
	form := rawjson.Form{Drop: t.drop, Limit: maxBody}
	if c.Kind == "" {
		form.Head = t.head
	}
	src := c.Object
	if c.Missed {
		src, err = json.Marshal(map[string]any{"metadata": identified(c)})
		if err != nil {
			return false, err
		}
	}
	if !t.r.watches() {
		t.buf, cut, err = rawjson.AppendValue(t.buf[:0], src, form)
		return cut, err
	}
	dst, body := otlp.OpenLen(t.buf[:0], 6) // kvlist_value
	dst = otlp.AppendAttrs(dst, 1, []otlp.KeyValue{otlp.Attr("type", c.Type)})
	dst, pair := otlp.OpenLen(dst, 1)
	dst, key := otlp.OpenLen(dst, 1)
	dst = otlp.CloseLen(append(dst, "object"...), key)
	dst, value := otlp.OpenLen(dst, 2)
	dst, cut, err = rawjson.AppendValue(dst, src, form)
	t.buf = otlp.CloseLen(otlp.CloseLen(otlp.CloseLen(dst, value), pair), body)
	return cut, err
}

// identified is the metadata of an object of which no more is known.
func identified(c *follow.Change) any {
	return struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace,omitempty"`
		UID       string `json:"uid,omitempty"`
	}{c.Name, c.Namespace, c.UID}
}

// attributes encodes a record's attributes into t.attrs.
func (t *target) attributes(c *follow.Change, cut bool) {
	of := t.follower.Target
	kind := c.Kind
	if kind == "" {
		kind = of.Kind
	}
	kvs := [16]otlp.KeyValue{
		otlp.Attr("k8s.resource.name", of.Name), otlp.Attr("event.domain", "k8s"), otlp.Attr("event.name", c.Name),
		otlp.Attr("k8s.object.kind", kind), otlp.Attr("k8s.object.name", c.Name),
		{Key: "stint.leader.term", Value: otlp.Int(t.s.d.Term())},
	}
	all := kvs[:6]
	if c.UID != "" {
		all = append(all, otlp.Attr("k8s.object.uid", c.UID))
	}
	if c.ResourceVersion != "" {
		all = append(all, otlp.Attr("k8s.object.resource_version", c.ResourceVersion))
	}
	if !t.r.watches() {
		t.mu.Lock()
		snapshot := t.pull.Snapshot
		t.mu.Unlock()
		all = append(all, otlp.Attr("k8s.snapshot.id", snapshot), otlp.KeyValue{Key: "k8s.snapshot.consistent", Value: otlp.Bool(!c.Mixed)})
	}
	if cut {
		all = append(all, otlp.KeyValue{Key: "stint.truncated", Value: otlp.Bool(true)})
	}
	if c.Missed {
		all = append(all, otlp.KeyValue{Key: "stint.watch.missed", Value: otlp.Bool(true)})
	}
	t.attrs = otlp.AppendAttrs(t.attrs[:0], otlp.AttrsOfLogRecord, all)
}
