package follow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"stint/scrape/kube"
)

const (
	// RetryMissing is how often a kind is looked for that does not exist or may not be read.
	RetryMissing = 5 * time.Minute
	firstBackoff = 800 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// believed is how many refusals in a row are not believed yet: 5.6 s of them.
	believed = 3
	// expiresOften is too soon for a server to have forgotten once more what happened: it would be listed
	// without a pause.
	expiresOften = 10 * time.Second
	// A watch lasts between one and two of these, as client-go has it: not all end at once.
	watchTimeout = 5 * time.Minute
	// idleAfter is twice and more what lies between bookmarks. A watch that says nothing for longer may
	// be from a resourceVersion of the future: the server would not say so.
	idleAfter = 2 * time.Minute
)

// Initial says what is sent of what is there already.
type Initial string

const (
	None    Initial = "none"    // nothing when it is not known how far it was followed before
	Changed Initial = "changed" // what is newer than what was followed before; all when that is not known
	All     Initial = "all"     // all, at each start
)

// Change is what becomes of an object.
type Change struct {
	Identity
	Type   string // Added, Modified or Deleted
	Object []byte // JSON, valid until Take returns; nil when Missed
	Listed bool   // found in a list: it may have changed more than once, and long ago
	Missed bool   // the object is not there any more; nobody saw it go
	Mixed  bool   // of a list of which the pages before are of another time
}

// Gap is why what happened in between can't be known.
type Gap string

const (
	// GapExpired: the server forgot what happened since, and after a restart it is not known what was
	// there before: deletions may be missing.
	GapExpired Gap = "expired"
	// GapFuture: what was followed before is of another time line: etcd was restored from a backup.
	GapFuture Gap = "future"
)

// Handler gets what a Follower finds, in its order and from its goroutine.
type Handler interface {
	Take(ctx context.Context, c *Change) error
	// Pass says that all up to p was taken: from there on it can be followed again. A list goes on
	// when it returns.
	Pass(ctx context.Context, p Position) error
	Gap(ctx context.Context, g Gap, from, to string) error
	// Skipped tells of an object that can't be read.
	Skipped(err error)
}

// Follower lists and watches one target until its context ends. It begins where it was before
// (a [Position]) if the server still knows what happened since. If it does not (410, which also each
// restart of an API server brings about), it lists the target, takes what is newer, and what is gone
// as deleted.
type Follower struct {
	API      *API
	Target   Target
	Handler  Handler
	Initial  Initial
	Progress *kube.Progress
	Log      *slog.Logger
	Idle     time.Duration // after which a watch of which nothing comes is looked into; 0: two minutes
	Page     int           // objects of a page; 0: PageSize

	known    *known    // nil: deletions that are missed are of no interest
	kept     bool      // it is what there was at the position that Run begins with
	got      bool      // something came since the last fault
	expired  time.Time // when the server had forgotten last what happened
	refused  int       // answers in a row that it may not be read, or is not there
	said     bool      // that it may not be read
	backoffs backoff
}

// Know lets Run tell of deletions that it missed, for which it remembers some 120 bytes an object. kept is what there was
// at the position that Run begins with, nil if that is not known. Call it before Run.
func (f *Follower) Know(kept *Objects) { f.known, f.kept = newKnown(kept), kept != nil }

// Run returns an error that wraps [ErrNoResource] when there is no such kind of object, that of the
// handler if it has one, and nil when ctx ends.
func (f *Follower) Run(ctx context.Context, at Position) error {
	f.begins()
	if f.Initial == All && !at.Listing {
		at = Position{}
	}
	resumed := at.Version == ""
	for ctx.Err() == nil {
		var err error
		switch {
		case !resumed:
			if err = f.resume(ctx, &at); err == nil {
				resumed = true
			}
		case at.Version == "" && !at.Listing && f.Initial == None:
			err = f.begin(ctx, &at)
		case at.Version == "" || at.Listing:
			at.Listing = true
			err = f.list(ctx, &at)
		default:
			err = f.watch(ctx, &at)
		}
		if err := f.settle(ctx, err); err != nil {
			return err
		}
	}
	return nil
}

// Objects are those that there were at a position, nil if that is not known. It may be called while Run
// works, with positions that do not go back.
func (f *Follower) Objects(at Position) *Objects {
	if f.known == nil {
		return nil
	}
	return f.known.at(at)
}

// Once lists the target a single time, or the rest of it: each page when Pass of the one before has
// returned.
func (f *Follower) Once(ctx context.Context, at Position) error {
	f.begins()
	for at.Listing = true; at.Listing && ctx.Err() == nil; {
		if err := f.settle(ctx, f.list(ctx, &at)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (f *Follower) begins() {
	f.got, f.said, f.refused, f.backoffs = false, false, 0, backoff{}
	if f.Idle == 0 {
		f.Idle = idleAfter
	}
	if f.Page == 0 {
		f.Page = PageSize
	}
}

// handlerError is one that ends Run.
type handlerError struct{ error }

func (e handlerError) Unwrap() error { return e.error }

// settle decides what a fault means, and waits before the next try.
func (f *Follower) settle(ctx context.Context, err error) error {
	var own handlerError
	switch {
	case ctx.Err() != nil:
		return nil
	case err == nil:
		f.ok()
		return nil
	case errors.As(err, &own):
		return own.error
	case missing(err) && f.refuse(ctx):
		return nil
	case missing(err):
		f.Progress.Listed(f.Target.String(), nil) // whoever leads finds it so
		return fmt.Errorf("%w: %s: %w", ErrNoResource, f.Target.FullName(), err)
	case apierrors.IsForbidden(err) && f.refuse(ctx):
		return nil
	case apierrors.IsForbidden(err):
		f.Progress.Listed(f.Target.String(), nil) // the other replicas may not either: no reason to give the lease up
		if !f.said {
			f.said = true
			f.Log.Warn("the API server does not let stint-cluster read a kind of object; add the rule, it is tried again every 5 minutes",
				"kind", f.Target.String(), "rule", f.Target.Rule(), "err", err)
		}
		sleep(ctx, RetryMissing)
		return nil
	}
	if f.got {
		f.got, f.backoffs = false, backoff{}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // as when an API server is restarted
		sleep(ctx, f.backoffs.next())
		return nil
	}
	f.Progress.Listed(f.Target.String(), err)
	f.Log.Warn("a kind of object can't be followed; it is tried again", "kind", f.Target.String(), "err", err)
	sleep(ctx, f.backoffs.next())
	return nil
}

// refuse waits a little at the first refusals: an API server that has just started does not know roles
// and custom resources at once. It says whether to try again already.
func (f *Follower) refuse(ctx context.Context) bool {
	if f.refused++; f.refused > believed {
		return false
	}
	sleep(ctx, firstBackoff<<(f.refused-1))
	return true
}

// ok notes that the server answers.
func (f *Follower) ok() {
	f.got, f.said, f.refused = true, false, 0
	f.Progress.Listed(f.Target.String(), nil)
}

// resume looks at whether at can be gone on from.
func (f *Follower) resume(ctx context.Context, at *Position) error {
	var now string
	var err error
	if f.known != nil && !f.kept {
		now, err = f.learn(ctx)
	} else {
		now, err = f.version(ctx)
	}
	if err != nil {
		return err
	}
	return f.lookAhead(ctx, at, now)
}

// lookAhead discards a position of the future.
func (f *Follower) lookAhead(ctx context.Context, at *Position, now string) error {
	if !future(at.Version, now) {
		return nil
	}
	f.Log.Warn("what is known of a kind of object is of another time: was etcd restored? It is listed anew", "kind", f.Target.String(), "version", at.Version, "now", now)
	if err := f.Handler.Gap(ctx, GapFuture, at.Version, now); err != nil {
		return handlerError{err}
	}
	*at = Position{}
	return nil
}

// begin goes on from now, with nothing taken of what is there.
func (f *Follower) begin(ctx context.Context, at *Position) (err error) {
	var now string
	if f.known != nil {
		if now, err = f.learn(ctx); err == nil {
			err = f.gone(ctx, &Position{}) // what was followed before etcd was restored
		}
	} else {
		now, err = f.version(ctx)
	}
	if err != nil {
		return err
	}
	*at = Position{Version: now}
	return f.pass(ctx, at)
}

// version is the target's resourceVersion right now.
func (f *Follower) version(ctx context.Context) (string, error) {
	p := Page{Limit: 1}
	err := f.page(ctx, &p, func([]byte) error { return nil })
	return p.ResourceVersion, err
}

func (f *Follower) pass(ctx context.Context, at *Position) error {
	if f.known != nil {
		at.seq = f.known.pass()
	}
	if err := f.Handler.Pass(ctx, *at); err != nil {
		return handlerError{err}
	}
	return nil
}

// learn notes which objects there are, and returns as of when.
func (f *Follower) learn(ctx context.Context) (version string, err error) {
	f.known.begin()
	p := Page{Limit: f.Page, Metadata: true}
	for {
		if err := f.page(ctx, &p, func(object []byte) error {
			if id, err := Identify(object); err == nil {
				f.known.add(&id)
			}
			return nil
		}); err != nil {
			if token := tokenOf(err); expired(err) && token != "" {
				p.Continue = token
				continue
			}
			return "", err
		}
		if version == "" {
			version = p.ResourceVersion
		}
		if p.Continue == "" {
			f.known.learned(version)
			return version, nil
		}
	}
}

// list takes what is in the list from a page on, and what is in it no more.
func (f *Follower) list(ctx context.Context, at *Position) error {
	if at.Continue == "" && f.known != nil {
		f.known.begin()
	}
	p := Page{Limit: f.Page, Continue: at.Continue}
	for taken := 0; ; {
		asked, n := p, 0
		err := f.page(ctx, &p, func(object []byte) error {
			if n++; n <= taken {
				return nil // before the answer broke off
			}
			taken++
			return f.listed(ctx, object, at)
		})
		switch token := tokenOf(err); {
		case err == nil:
		case expired(err) && token != "":
			// The rest of the list as it is now. What was in the pages before is followed from the list's
			// own version on.
			p.Continue, p.Exact, taken, at.Mixed = token, "", 0, true
			continue
		case expired(err):
			*at = Position{Listing: true, Since: at.Since}
			return err
		default:
			if err := f.settle(ctx, err); err != nil {
				return handlerError{err}
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			// The same page again, as it was: what was taken of it is not taken twice.
			version := p.ResourceVersion
			if p = asked; taken > 0 && p.Continue == "" && p.Exact == "" {
				if p.Exact = version; version == "" { // it would have come behind the objects
					taken = 0
				}
			}
			continue
		}
		f.ok()
		taken = 0
		if at.Version == "" {
			at.Version = p.ResourceVersion
		}
		at.Continue, p.Exact = p.Continue, ""
		if p.Continue != "" {
			if err := f.pass(ctx, at); err != nil {
				return err
			}
			continue
		}
		if err := f.gone(ctx, at); err != nil {
			return err
		}
		*at = Position{Version: at.Version, Mixed: at.Mixed}
		return f.pass(ctx, at)
	}
}

// page reads a page; the time in which nothing comes is bounded, that in which nothing is taken is
// not.
func (f *Follower) page(ctx context.Context, p *Page, each func(object []byte) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stalled := time.AfterFunc(f.Idle, stop)
	defer stalled.Stop()
	return f.API.List(ctx, f.Target, p, func(object []byte) error {
		stalled.Stop()
		defer stalled.Reset(f.Idle)
		return each(object)
	})
}

// listed takes an object of a list.
func (f *Follower) listed(ctx context.Context, object []byte, at *Position) error {
	c := Change{Type: Added, Object: object, Listed: true, Mixed: at.Mixed}
	var err error
	if c.Identity, err = f.identify(object); err != nil {
		f.Handler.Skipped(err)
		return nil
	}
	if old := f.known == nil || f.known.add(&c.Identity); old && at.Since != "" {
		c.Type = Modified
	}
	if !Newer(c.ResourceVersion, at.Since) {
		return nil
	}
	if err := f.Handler.Take(ctx, &c); err != nil {
		return handlerError{err}
	}
	return nil
}

// identify is Identify with what the lists of built-in kinds leave out.
func (f *Follower) identify(object []byte) (Identity, error) {
	if object == nil {
		return Identity{}, fmt.Errorf("an object is larger than %d MiB", maxObject>>20)
	}
	return Identify(object)
}

// gone takes what a list has no more.
func (f *Follower) gone(ctx context.Context, at *Position) error {
	if f.known == nil {
		return nil
	}
	if at.Since != "" && !f.known.whole() {
		// It was followed by another process before, of which the objects are not known.
		if err := f.Handler.Gap(ctx, GapExpired, at.Since, at.Version); err != nil {
			return handlerError{err}
		}
	}
	f.known.learned("")
	return f.known.vanished(func(id *Identity) error {
		if err := f.Handler.Take(ctx, &Change{Identity: *id, Type: Deleted, Listed: true, Missed: true}); err != nil {
			return handlerError{err}
		}
		return nil
	})
}

// errIdle ends a watch of which nothing comes.
var errIdle = errors.New("nothing came of a watch for two minutes")

// watch takes what happens from a position on.
func (f *Follower) watch(ctx context.Context, at *Position) error {
	watch, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	idle := time.AfterFunc(f.Idle, func() { stop(errIdle) })
	defer idle.Stop()
	began := time.Now()
	timeout := watchTimeout + rand.N(watchTimeout)
	err := f.API.Watch(watch, f.Target, at.Version, timeout, f.ok, func(kind string, object []byte) error {
		idle.Stop()
		defer idle.Reset(f.Idle)
		f.got = true
		id, err := f.identify(object)
		if err != nil {
			f.Handler.Skipped(err)
			return nil
		}
		switch kind {
		case Added, Modified, Deleted:
			if f.known != nil {
				f.known.change(kind, &id)
			}
			if err := f.Handler.Take(ctx, &Change{Identity: id, Type: kind, Object: object}); err != nil {
				return handlerError{err}
			}
		}
		if id.ResourceVersion != "" {
			*at = Position{Version: id.ResourceVersion}
			if f.known != nil {
				f.known.reached(id.ResourceVersion)
			}
			return f.pass(ctx, at)
		}
		return nil
	})
	switch {
	case context.Cause(watch) == errIdle:
		now, err := f.version(ctx)
		if err != nil {
			return err
		}
		return f.lookAhead(ctx, at, now)
	case expired(err):
		f.Log.Info("the API server does not know any more what happened; what is newer is listed", "kind", f.Target.String(), "since", at.Version)
		*at = Position{Listing: true, Since: at.Version}
		if time.Since(f.expired) < expiresOften {
			sleep(ctx, f.backoffs.next())
		}
		f.expired = time.Now()
		return nil
	case (err == nil || errors.Is(err, io.EOF)) && time.Since(began) > firstBackoff:
		return nil // it had its time
	}
	return err
}

// backoff is how long is waited before each try.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, firstBackoff), maxBackoff)
	return b.last/2 + rand.N(b.last)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
