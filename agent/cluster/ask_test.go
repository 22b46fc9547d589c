package cluster

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stint/agent/command"
	"stint/agent/process"
	"stint/export"
)

// A running replica says how it is.
func TestAsk(t *testing.T) {
	cfg := Defaults()
	cfg.StateDir, cfg.Admin.Listen, cfg.Health.Listen = t.TempDir(), "127.0.0.1:0", ""
	cfg.Gateway.GRPC, cfg.Gateway.HTTP = "127.0.0.1:0", ""
	cfg.Pipelines = export.Pipelines{"logs": {Sources: []string{"otlp"}, Exporters: []string{"debug"}}}
	cfg.Exporters = export.Exporters{"debug": &export.Debug{Verbosity: "basic"}}
	c, err := New(&cfg, "1.2.3", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	asked := Defaults()
	asked.Admin.Listen = c.claim.Admin.Addr().String()
	text, well, err := Ask(t.Context(), &asked)
	if err != nil || !well || !strings.HasPrefix(text, "stint-cluster 1.2.3, up ") || !strings.Contains(text, "\nok   exporter  debug took logs never") {
		t.Errorf("Ask = %v, %v\n%s", well, err, text)
	}
	// Both programs listen on the same port, if nobody says otherwise.
	if err := command.Ask(t.Context(), "stint-agent", asked.Admin.Listen, &Status{}); err == nil || !strings.HasSuffix(err.Error(), "is no stint-agent: 200 OK stint-cluster") {
		t.Errorf("%v, want that it is no agent", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, _, err := Ask(t.Context(), &asked); err == nil || !strings.Contains(err.Error(), "no stint-cluster answers at admin.listen: ") {
		t.Errorf("%v, want that nobody answers", err)
	}
}

func TestScreen(t *testing.T) {
	now := time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		leader LeaseStatus
		want   string
		well   bool
	}{
		{LeaseStatus{Leader: true, Identity: "a_1", Holder: "a_1", Renewed: 0.4}, "ok   leader    this replica, a_1, renewed 0 s ago\n", true},
		{LeaseStatus{Identity: "a_1", Holder: "b_2"}, "ok   leader    b_2\n", true},
		{LeaseStatus{Identity: "a_1"}, "fail leader    none\n", false},
		{LeaseStatus{Identity: "a_1", Holder: "b_2", Error: "leases.coordination.k8s.io is forbidden"}, "fail leader    b_2 leases.coordination.k8s.io is forbidden\n", false},
	} {
		s := Status{Version: "1", Uptime: 61, Leader: &tc.leader, Process: process.Status{RSS: 40 << 20, PoolLimit: 64 << 20}}
		want := "stint-cluster 1, up 1m1s\n" + tc.want + "ok   memory    40 MiB resident, no limit; records take 0 KiB of 64 MiB\n"
		got, well := s.screen(now)
		if d := cmp.Diff(want, got); d != "" || well != tc.well {
			t.Errorf("well %v (-want +got)\n%s", well, d)
		}
	}
	s := Status{Sources: []SourceStatus{{Source: "state", Pending: 3}, {Source: "events", Stuck: "no data for 31s"}}}
	got, well := s.screen(now)
	if well || !strings.Contains(got, "\nok   source    state: 3 chunks are not delivered yet\nfail source    events: 0 chunks are not delivered yet no data for 31s\n") {
		t.Errorf("well %v\n%s", well, got)
	}
}
