package export

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"stint/export/otlp"
)

// choosy is a destination that answers for each record.
type choosy struct {
	t      testing.TB
	answer func(n int, r *request) Verdict
	got    []string // of each request, what it held
	times  []time.Time
}

func (c *choosy) close() {}

func (c *choosy) send(_ context.Context, r *request) Verdict {
	c.got = append(c.got, (&fake{t: c.t}).decode(r).bodies...)
	c.got = append(c.got, "|")
	c.times = append(c.times, time.Now())
	return c.answer(len(c.times), r)
}

// partOf is the records of a request from one on, without that to.
func partOf(r *request, from, to int) *request {
	p := &request{signal: r.signal}
	n := 0
	for _, x := range r.pieces {
		for data := x.data; len(data) > 0; n++ {
			raw, _, rest, err := otlp.NextRecord(data)
			if err != nil {
				panic(err)
			}
			if data = rest; n >= from && n < to {
				p.add(piece{x.group, raw, 1})
			}
		}
	}
	return p
}

// What a destination did not settle of a request is sent again, alone; what it refused is dropped;
// the rest counts as sent.
func TestRestOfARequest(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(n int, r *request) Verdict
		got    []string
		want   Status
	}{
		"some wait": {func(n int, r *request) Verdict {
			if n < 3 {
				return Verdict{Kind: Again, Rest: partOf(r, 2, r.records), Err: errFake}
			}
			return Verdict{}
		}, []string{"a/0", "a/1", "a/2", "a/3", "a/4", "a/5", "|", "a/2", "a/3", "a/4", "a/5", "|", "a/4", "a/5", "|"}, Status{Sent: 6, Requests: 3, Retries: 2}},
		"some wait, some are refused": {func(n int, r *request) Verdict {
			if n == 1 {
				return Verdict{Kind: Again, Rest: partOf(r, 4, 6), Refused: []refusal{{partOf(r, 0, 1), "x", errFake}, {partOf(r, 1, 3), "y", errFake}}, Err: errFake}
			}
			return Verdict{}
		}, []string{"a/0", "a/1", "a/2", "a/3", "a/4", "a/5", "|", "a/4", "a/5", "|"}, Status{Sent: 3, Dropped: 3, Requests: 2, Retries: 1}},
		"some are refused": {func(n int, r *request) Verdict {
			return Verdict{Refused: []refusal{{partOf(r, 0, 2), "x", errFake}}}
		}, []string{"a/0", "a/1", "a/2", "a/3", "a/4", "a/5", "|"}, Status{Sent: 4, Dropped: 2, Requests: 1}},
		"all are refused": {func(n int, r *request) Verdict {
			return Verdict{Refused: []refusal{{r, "x", errFake}}}
		}, []string{"a/0", "a/1", "a/2", "a/3", "a/4", "a/5", "|"}, Status{Dropped: 6, Requests: 1}},
		"an answer is lost first": {func(n int, r *request) Verdict {
			switch n {
			case 1:
				return Verdict{Kind: Again, Unsure: true, Err: errFake}
			case 2:
				return Verdict{Kind: Again, Rest: partOf(r, 4, 6), Err: errFake}
			}
			return Verdict{}
		}, []string{"a/0", "a/1", "a/2", "a/3", "a/4", "a/5", "|", "a/0", "a/1", "a/2", "a/3", "a/4", "a/5", "|", "a/4", "a/5", "|"}, Status{Sent: 6, Requests: 3, Retries: 2, Resent: 6}},
		"an answer is lost in the end": {func(n int, r *request) Verdict {
			if n == 1 {
				return Verdict{Kind: Again, Unsure: true, Rest: partOf(r, 4, 6), Err: errFake}
			}
			return Verdict{}
		}, []string{"a/0", "a/1", "a/2", "a/3", "a/4", "a/5", "|", "a/4", "a/5", "|"}, Status{Sent: 6, Requests: 2, Retries: 1, Resent: 2}},
		// After progress an equal answer is the first of its kind: nothing is cut.
		"slow progress": {func(n int, r *request) Verdict {
			if n%3 != 0 {
				return Verdict{Kind: Again, Err: errFake}
			}
			if r.records == 2 {
				return Verdict{}
			}
			return Verdict{Kind: Again, Rest: partOf(r, 2, r.records), Err: errFake}
		}, []string{"a/0", "a/1", "a/2", "a/3", "a/4", "a/5", "|", "a/0", "a/1", "a/2", "a/3", "a/4", "a/5", "|", "a/0", "a/1", "a/2", "a/3", "a/4", "a/5", "|",
			"a/2", "a/3", "a/4", "a/5", "|", "a/2", "a/3", "a/4", "a/5", "|", "a/2", "a/3", "a/4", "a/5", "|", "a/4", "a/5", "|", "a/4", "a/5", "|", "a/4", "a/5", "|"},
			Status{Sent: 6, Requests: 9, Retries: 8}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFakes(t, BatchDefaults(), map[string]*fake{"x": {}})
				c := &choosy{t: t, answer: tc.answer}
				e.outs["x"].dest = c
				s := newSource(t)
				deliverFake(t, e, s.logs("a", 6, 20))
				if !slices.Equal(c.got, tc.got) {
					t.Errorf("requests held %q\nwant %q", c.got, tc.got)
				}
				st := statusOf(t, e, otlp.Logs)
				got := Status{Sent: st.Sent, Dropped: st.Dropped, Requests: st.Requests, Retries: st.Retries, Resent: st.Resent}
				if got != tc.want || st.Down != "" {
					t.Errorf("%+v, want %+v", st, tc.want)
				}
				delivered, dropped := 1, 0
				if tc.want.Dropped > 0 {
					delivered, dropped = 0, 1
				}
				s.want(delivered, dropped, 0)
			})
		})
	}
}

// While a part waits for its time, the destination counts as up: it has taken something.
func TestRestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakes(t, BatchDefaults(), map[string]*fake{"x": {}})
		c := &choosy{t: t}
		c.answer = func(n int, r *request) Verdict {
			if n == 1 {
				return Verdict{Kind: Again, After: 30 * time.Second, Rest: partOf(r, 1, 2), Err: errors.New("disk full")}
			}
			return Verdict{}
		}
		e.outs["x"].dest = c
		deliverFake(t, e, newSource(t).logs("a", 2, 20))
		if d := c.times[1].Sub(c.times[0]); d < 30*time.Second || d > 34*time.Second {
			t.Errorf("the rest came after %v", d)
		}
	})
}
