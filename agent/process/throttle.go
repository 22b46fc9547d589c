package process

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// throttleFor is how long the same warning is held back after it was logged.
const throttleFor = time.Minute

// maxSeen bounds the table, as far as not more than these are said within a minute.
const maxSeen = 1000

// throttle is a slog.Handler that lets a warning or error through once a minute and says how
// many of the same message it held back. The same is: the message, which is a constant, about
// the same exporter, scraper or kind of object, of which there are few; so the table stays small.
type throttle struct {
	slog.Handler
	about  string // of the attributes that a logger has
	shared *throttled
}

type throttled struct {
	mu   sync.Mutex
	seen map[string]*held
}

type held struct {
	last time.Time
	n    int
}

// NewThrottle puts it in front of h.
func NewThrottle(h slog.Handler) slog.Handler {
	return throttle{h, "", &throttled{seen: map[string]*held{}}}
}

// about is what tells a message from the same one about something else.
func about(a slog.Attr) string {
	switch a.Key {
	case "exporter", "signal", "source", "scraper", "kind", "namespace":
		return "\x00" + a.Value.String()
	}
	return ""
}

// Handle implements slog.Handler.
func (t throttle) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		key := r.Message + t.about
		r.Attrs(func(a slog.Attr) bool {
			key += about(a)
			return true
		})
		n, ok := t.shared.pass(key, r.Time)
		if !ok {
			return nil
		}
		if n > 0 {
			r = r.Clone()
			r.AddAttrs(slog.Int("held_back", n))
		}
	}
	return t.Handler.Handle(ctx, r)
}

func (t *throttled) pass(key string, now time.Time) (n int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.seen[key]
	if h == nil {
		if len(t.seen) >= maxSeen { // what was held back of these is never said
			maps.DeleteFunc(t.seen, func(_ string, h *held) bool { return now.Sub(h.last) >= throttleFor })
		}
		h = &held{}
		t.seen[key] = h
	} else if now.Sub(h.last) < throttleFor {
		h.n++
		return 0, false
	}
	n, h.n, h.last = h.n, 0, now
	return n, true
}

// WithAttrs implements slog.Handler.
func (t throttle) WithAttrs(attrs []slog.Attr) slog.Handler {
	key := t.about
	for _, a := range attrs {
		key += about(a)
	}
	return throttle{t.Handler.WithAttrs(attrs), key, t.shared}
}

// WithGroup implements slog.Handler.
func (t throttle) WithGroup(name string) slog.Handler {
	return throttle{t.Handler.WithGroup(name), t.about, t.shared}
}
