package kube

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"stint/export/otlp"
)

// Deps is what a source of the leader works with.
type Deps struct {
	Client  *Client
	Version string     // of the scope
	Pool    *otlp.Pool // memory for what it encodes
	// Out hands a chunk on and never blocks. Without a live lease it settles the chunk as aborted
	// before it returns, so don't hold a lock that Settled takes. The rest is settled when every
	// destination has it.
	Out        func(*otlp.Chunk)
	Live       func() bool  // the lease is held right now
	Term       func() int64 // leaseTransitions of the current term
	Progress   *Progress
	Log        *slog.Logger
	Registerer prometheus.Registerer
}
