package process

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestThrottleHoldsBackAndSaysHowMuch(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(NewThrottle(slog.NewTextHandler(&out, nil))).With("part", "x")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	sayTo := func(log *slog.Logger, level slog.Level, after time.Duration, msg string, attrs ...slog.Attr) {
		rec := slog.NewRecord(at.Add(after), level, msg, 0)
		rec.AddAttrs(attrs...)
		if err := log.Handler().Handle(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	say := func(level slog.Level, after time.Duration, msg string, attrs ...slog.Attr) {
		sayTo(log, level, after, msg, attrs...)
	}
	say(slog.LevelWarn, 0, "bad")
	say(slog.LevelWarn, time.Second, "bad")
	say(slog.LevelWarn, 2*time.Second, "bad")
	say(slog.LevelWarn, 2*time.Second, "other")
	say(slog.LevelWarn, 2*time.Second, "bad", slog.String("exporter", "second"))
	sayTo(log.With("kind", "pods"), slog.LevelWarn, 2*time.Second, "bad")
	sayTo(log.With("kind", "nodes"), slog.LevelWarn, 2*time.Second, "bad")
	sayTo(log.With("kind", "nodes"), slog.LevelWarn, 2*time.Second, "bad")
	sayTo(log.With("kind", "nodes").With("namespace", "shop"), slog.LevelWarn, 2*time.Second, "bad")
	say(slog.LevelInfo, 2*time.Second, "info")
	say(slog.LevelInfo, 2*time.Second, "info")
	say(slog.LevelWarn, throttleFor+time.Second, "bad")
	want := []string{"msg=bad part=x", "msg=other part=x", "msg=bad part=x exporter=second",
		"msg=bad part=x kind=pods", "msg=bad part=x kind=nodes", "msg=bad part=x kind=nodes namespace=shop", "msg=info part=x", "msg=info part=x", "msg=bad part=x held_back=2"}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines:\n%s", len(lines), &out)
	}
	for i, w := range want {
		if !strings.HasSuffix(lines[i], w) {
			t.Errorf("line %d: %s, want …%s", i, lines[i], w)
		}
	}
}
