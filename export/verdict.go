package export

import (
	"math/rand/v2"
	"time"
)

// Kind is the class of a destination's answer. Every answer, or the lack of one, falls in
// exactly one; the sender acts on the class alone.
type Kind uint8

const (
	// OK: all accepted.
	OK Kind = iota
	// Partial: accepted, Rejected records refused by the server for good. Never sent again.
	Partial
	// Again: transient; the request stays at the head of its lane.
	Again
	// Split: too large, or one bad record made the server refuse all of it: cut in two.
	Split
	// Drop: permanent; counted by Reason.
	Drop
	// Auth: the credentials are refused. The data waits; somebody must act.
	Auth
	// Misconfigured: wrong path, service or TLS name. The data waits; somebody must act.
	Misconfigured
)

func (k Kind) String() string {
	return [...]string{"ok", "partial", "retry", "split", "drop", "auth", "misconfigured"}[k]
}

// Verdict is a destination's answer to one request.
type Verdict struct {
	Kind     Kind
	After    time.Duration // Again: do not come back sooner
	Rejected int64         // Partial: how many records
	Reason   string        // Drop, Split: label of the counter when a record is given up for it
	// Unsure: the server may have taken the request although it did not say so; sending it again
	// may repeat records.
	Unsure bool
	// Held: the transport may still read the request's bytes; they must not be written to.
	Held bool
	// Refused and Rest are for destinations that answer for each record (Elasticsearch): parts of
	// the request that are given up, with OK or Again, and with Again the part that is to be sent
	// again, if it is not all that is not refused. What is in neither was accepted.
	Refused []refusal
	Rest    *request
	Err     error // what was answered, for people; nil when OK
}

// refusal is a part of a request that a destination refuses for good.
type refusal struct {
	*request
	reason string
	err    error
}

// Reasons why a record is given up, apart from those that name a destination's code.
const (
	tooLarge   = "too_large"   // Split: the destination's size limit; learned
	invalid    = "invalid"     // Split: something in the request is not valid
	splitLimit = "split_limit" // more bad records in a batch than are searched for
	queueFull  = "queue_full"
	fenced     = "fenced"   // what only the leader may send, which this replica is not any more
	rejected   = "rejected" // within an accepted request

	outOfBounds = "out_of_bounds" // Split: refused for their age, by Prometheus
	tooOld      = "too_old"       // likewise
)

const (
	// maxAfter caps what a server may ask for: a proxy that answers "Retry-After: 86400" must not
	// park the data for a day.
	maxAfter = 5 * time.Minute
	// parkFor is the least wait after Auth and Misconfigured: no hammering while somebody mends it.
	parkFor = 30 * time.Second
)

// backoff yields waiting times with full jitter: each a random part of a bound that doubles.
type backoff struct {
	first, max time.Duration
	bound      time.Duration
}

// next is the time to wait before the next attempt, at least atLeast.
func (b *backoff) next(atLeast time.Duration) time.Duration {
	if b.bound == 0 {
		b.bound = b.first
	}
	d := rand.N(b.bound) + time.Millisecond
	b.bound = min(2*b.bound, b.max)
	if atLeast = min(atLeast, maxAfter); d < atLeast {
		d = atLeast + rand.N(atLeast/10+1) // spread over senders that were all told the same
	}
	return d
}

func (b *backoff) reset() { b.bound = 0 }
