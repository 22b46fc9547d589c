package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"golang.org/x/sys/unix"
)

// lease is the Lease as client-go's elector reads and writes it, and tells from that whether
// something may be sent. The elector does not: it believes itself the leader until its next try to
// renew has failed for all of renew_deadline, even after the process was stopped for an hour and
// another replica leads.
//
// A term begins when the lease was acquired and ends when it is given up, when anybody else was seen to
// hold it, or when it was acquired anew without the elector having said that it was lost. It goes on
// under its number if the lease could not be renewed for a while and nobody else took it.
type lease struct {
	resourcelock.Interface
	deadline time.Duration // how long after the last renewal something may be sent

	mu      sync.Mutex // guards everything below
	holder  string     // whom the Lease names, as far as is known
	renewed time.Duration
	term    int64 // leaseTransitions, of the last renewal
	open    bool  // the term's sources may send
	opened  int64 // the term that is open, or was last
	taken   chan struct{}
	err     error // of the last request
}

func newLease(inner resourcelock.Interface, deadline time.Duration) *lease {
	return &lease{Interface: inner, deadline: deadline}
}

// errTaken is what the elector gets when it would release a lease that somebody else holds.
var errTaken = errors.New("the lease is held by another replica")

// sinceBoot is a clock that neither is set nor stands still while the machine is suspended.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("bug: CLOCK_BOOTTIME: " + err.Error()) // since Linux 2.6.39
	}
	return time.Duration(t.Nano())
}

// Get implements resourcelock.Interface.
func (l *lease) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, l.deadline/2)
	defer cancel()
	r, raw, err := l.Interface.Get(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.err = nil
		l.holder = r.HolderIdentity
		if l.holder != l.Identity() {
			l.renewed = 0
			l.end()
		}
	case apierrors.IsNotFound(err):
		l.err = nil // it will be made
		l.holder, l.renewed = "", 0
		l.end()
	default:
		l.err = fmt.Errorf("read the lease %s: %w", l.Describe(), err)
	}
	return r, raw, err
}

// Create implements resourcelock.Interface.
func (l *lease) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.write(ctx, r, l.Interface.Create)
}

// Update implements resourcelock.Interface.
func (l *lease) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.write(ctx, r, l.Interface.Update)
}

func (l *lease) write(ctx context.Context, r resourcelock.LeaderElectionRecord, do func(context.Context, resourcelock.LeaderElectionRecord) error) error {
	if r.HolderIdentity == "" {
		// The elector reads the lease before it releases it, and does not look whose it is: after a
		// pause it may be another's (client-go 0.37, tryRelease).
		l.mu.Lock()
		ours := l.holder == l.Identity()
		l.mu.Unlock()
		if !ours {
			return errTaken
		}
	}
	ctx, cancel := context.WithTimeout(ctx, l.deadline/2)
	defer cancel()
	at := sinceBoot() // before the others can see it
	err := do(ctx, r)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			l.err = fmt.Errorf("write the lease %s: %w", l.Describe(), err)
		}
		return err
	}
	l.err = nil
	l.holder = r.HolderIdentity
	if l.holder == "" {
		l.renewed = 0
		l.end()
		return nil
	}
	l.renewed, l.term = at, int64(r.LeaderTransitions)
	if l.open && l.term != l.opened {
		l.end()
	}
	return nil
}

// begin opens the term of the last renewal. taken is closed when it is over, if that comes from
// outside.
func (l *lease) begin() (taken <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open, l.opened, l.taken = true, l.term, make(chan struct{})
	return l.taken
}

// close ends the term from inside: nothing more may be sent.
func (l *lease) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
}

// end needs mu.
func (l *lease) end() {
	if l.open {
		l.open = false
		close(l.taken)
	}
}

// live tells whether the term is open and the lease was renewed lately: nobody else can have it.
func (l *lease) live() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open && l.renewed != 0 && sinceBoot()-l.renewed < l.deadline
}

// pass is for one thing that shall be sent in the open term: whether that still goes. Nil: it does not
// even now.
func (l *lease) pass() func() bool {
	if !l.live() {
		return nil
	}
	term := l.currentTerm()
	return func() bool { return l.live() && l.currentTerm() == term }
}

// currentTerm is the number of the term that is open, or was last.
func (l *lease) currentTerm() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opened
}

// LeaseStatus is what is known of the lease.
type LeaseStatus struct {
	Leader   bool    `json:"leader"` // this replica holds it and may send
	Identity string  `json:"identity"`
	Holder   string  `json:"holder"` // as far as is known
	Term     int64   `json:"term"`   // leaseTransitions
	Renewed  float64 `json:"renewed_seconds_ago,omitempty"`
	Error    string  `json:"error,omitempty"` // of the last request
}

func (l *lease) status() LeaseStatus {
	live := l.live()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := LeaseStatus{Leader: live, Identity: l.Identity(), Holder: l.holder, Term: l.term}
	if l.renewed != 0 {
		s.Renewed = (sinceBoot() - l.renewed).Seconds()
	}
	if l.err != nil {
		s.Error = l.err.Error()
	}
	return s
}
