package checkpoint_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/scrape/kube/checkpoint"
	"stint/scrape/kube/replay"
)

func open(t *testing.T, s *replay.Server, term int64) (*checkpoint.Store, string, string, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	c := checkpoint.New(s.Client(t).Typed, "stint", "state", "test", slog.New(slog.DiscardHandler), reg)
	state, lost, err := c.Open(t.Context(), term)
	if err != nil {
		t.Fatal(err)
	}
	return c, string(state), lost, reg
}

func save(t *testing.T, c *checkpoint.Store, state string) {
	t.Helper()
	if err := c.Save(t.Context(), []byte(state)); err != nil {
		t.Fatal(err)
	}
}

// writes are those that were counted, by outcome.
func writes(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if f.GetName() == "stint_checkpoint_writes_total" {
				got = append(got, fmt.Sprintf("%s=%v", m.GetLabel()[0].GetValue(), m.GetCounter().GetValue()))
			}
		}
	}
	return strings.Join(got, " ")
}

// TestStore: what was saved last is what the next one opens.
func TestStore(t *testing.T) {
	s := replay.New(t)
	c, state, lost, reg := open(t, s, 1)
	if state != "" || lost != "" {
		t.Errorf("a new one has %q, lost %q", state, lost)
	}
	save(t, c, "one")
	save(t, c, "two")
	version := s.Version()
	save(t, c, "two")
	if s.Version() != version {
		t.Error("what did not change was written again")
	}
	if _, state, lost, _ = open(t, s, 1); state != "two" || lost != "" {
		t.Errorf("%q, lost %q", state, lost)
	}
	if got := writes(t, reg); got != "ok=3" {
		t.Errorf("%s", got)
	}
	// Opened and closed without a word, it still has what it had.
	open(t, s, 2)
	if _, state, _, _ = open(t, s, 3); state != "two" {
		t.Errorf("%q", state)
	}
}

// TestFenced: a leader of before can't write once the next one has opened it, whatever terms are.
func TestFenced(t *testing.T) {
	for name, next := range map[string]int64{"next term": 8, "the same term, another process": 7, "the lease was made anew": 0} {
		s := replay.New(t)
		old, _, _, reg := open(t, s, 7)
		save(t, old, "old")
		c, state, _, _ := open(t, s, next)
		if state != "old" {
			t.Errorf("%s: %q", name, state)
		}
		if err := old.Save(t.Context(), []byte("late")); !errors.Is(err, checkpoint.ErrFenced) {
			t.Errorf("%s: %v", name, err)
		}
		if err := old.Keep(t.Context(), time.Millisecond, func() []byte { return []byte("later") }); !errors.Is(err, checkpoint.ErrFenced) {
			t.Errorf("%s: Keep ends with %v", name, err)
		}
		save(t, c, "new")
		if _, state, _, _ := open(t, s, next); state != "new" {
			t.Errorf("%s: %q", name, state)
		}
		if got := writes(t, reg); got != "fenced=2 ok=2" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestOthers: somebody deletes the ConfigMap, or labels it; that is no other leader.
func TestOthers(t *testing.T) {
	s := replay.New(t)
	c, _, _, _ := open(t, s, 1)
	save(t, c, "one")
	s.SetMap("state", nil)
	save(t, c, "two")
	cm := s.Map("state")
	cm.Labels["team"] = "x"
	s.SetMap("state", cm)
	save(t, c, "three")
	cm = s.Map("state")
	cm.Data["about"] = "{"
	s.SetMap("state", cm)
	save(t, c, "four")
	if _, state, _, _ := open(t, s, 2); state != "four" {
		t.Errorf("%q", state)
	}
}

// TestAway: opening waits for the API server and for the rule; saving fails and can be tried again.
func TestAway(t *testing.T) {
	s := replay.New(t)
	s.Forbid("configmaps", true)
	var log bytes.Buffer
	c := checkpoint.New(s.Client(t).Typed, "stint", "state", "test", slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	if _, _, err := c.Open(ctx, 1); err == nil {
		t.Error("it opens what is forbidden")
	}
	if !strings.Contains(log.String(), "resourceNames: [state], verbs: [get, update]}") || !strings.Contains(log.String(), "in a Role in stint") {
		t.Errorf("%s", &log)
	}
	s.Forbid("configmaps", false)
	if _, _, err := c.Open(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	s.Down(true)
	if err := c.Save(t.Context(), []byte("x")); err == nil || errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("%v", err)
	}
	s.Down(false)
	save(t, c, "x")
	if _, state, _, _ := open(t, s, 1); state != "x" {
		t.Errorf("%q", state)
	}
}

// TestTooLarge: what no ConfigMap holds is refused, and what is there stays.
func TestTooLarge(t *testing.T) {
	s := replay.New(t)
	c, _, _, _ := open(t, s, 1)
	save(t, c, "x")
	big := make([]byte, checkpoint.MaxBytes+1)
	rand.Read(big)
	if err := c.Save(t.Context(), big); err == nil || !strings.Contains(err.Error(), "is over") {
		t.Errorf("%v", err)
	}
	save(t, c, "y")
	if _, state, _, _ := open(t, s, 1); state != "y" {
		t.Errorf("%q", state)
	}
}

func TestCheck(t *testing.T) {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	checkpoint.Check(fault, "events", "stint-cluster-events", "")
	if len(faults) > 0 {
		t.Error(faults)
	}
	checkpoint.Check(fault, "events", "A b", "c.d")
	if len(faults) != 2 || !strings.HasPrefix(faults[0], "events.checkpoint_name: ") || !strings.HasPrefix(faults[1], "events.checkpoint_namespace: ") {
		t.Error(faults)
	}
}
