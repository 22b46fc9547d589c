package kube

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// lateIntervals is how many intervals without data make a source stuck.
	lateIntervals = 3
	// failingFor is how long nothing may be listed until a source is stuck.
	failingFor = time.Minute
)

// Progress tells whether a source of the leader gets on. If it does not, another replica shall try.
type Progress struct {
	mu    sync.Mutex // guards everything below
	every time.Duration
	last  time.Time
	kinds map[string]failing // one entry a kind that is listed or watched
}

// failing is since when and why a kind can't be listed; the zero value: it can.
type failing struct {
	since time.Time
	err   error
}

// Begin forgets what was; the next term begins.
func (p *Progress) Begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.every, p.last, p.kinds = 0, time.Now(), map[string]failing{}
}

// Every says that Done is called once each interval. Without it only lists are watched.
func (p *Progress) Every(interval time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.every = interval
}

// Done says that an interval's data was handed over, or that there was none.
func (p *Progress) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
}

// Listed tells how a list of a kind, or the start of a watch, came out.
func (p *Progress) Listed(kind string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.kinds[kind]
	switch {
	case err == nil:
		f = failing{}
	case f.since.IsZero():
		f = failing{time.Now(), err}
	default:
		f.err = err
	}
	p.kinds[kind] = f
}

// Stuck says why the source does not get on; empty: it does. One kind that can't be listed among
// others that can is no reason.
func (p *Progress) Stuck() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if quiet := time.Since(p.last); p.every > 0 && quiet > lateIntervals*p.every {
		return fmt.Sprintf("no data for %v, its interval is %v", quiet.Round(time.Second), p.every)
	}
	var names []string
	var err error
	for name, f := range p.kinds {
		if f.since.IsZero() || time.Since(f.since) < failingFor {
			return ""
		}
		names, err = append(names, name), f.err
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return fmt.Sprintf("can't list %s for %v: %v", strings.Join(names, ", "), failingFor, err)
}
