// Command gen writes a tree of container logs as the kubelet and containerd
// do. At the end, and meanwhile if told so, it prints what it wrote as one line
// of JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"stint/agent/workload"
)

// written is what gen prints.
type written struct {
	Lines   int64   `json:"lines"`
	Bytes   int64   `json:"bytes"` // of log file, CRI headers included
	Seconds float64 `json:"seconds"`
}

func main() {
	cfg := workload.Defaults()
	flag.StringVar(&cfg.Root, "root", "", "directory for the tree; required, and without such a tree in it")
	flag.IntVar(&cfg.Containers, "containers", cfg.Containers, "containers, each with a pod of its own")
	flag.IntVar(&cfg.LinesPerSecond, "rate", cfg.LinesPerSecond, "lines per second over all containers; 0 = as fast as possible")
	flag.IntVar(&cfg.Lines, "lines", cfg.Lines, "lines in all; 0 = until the duration is over or a signal comes")
	flag.Int64Var(&cfg.RotateBytes, "rotate-bytes", cfg.RotateBytes, "size over which a file is rotated; 0 = never")
	flag.IntVar(&cfg.KeepFiles, "keep-files", cfg.KeepFiles, "files of a container, the live one included")
	flag.BoolVar(&cfg.KeepPlain, "keep-plain", cfg.KeepPlain, "do not compress rotated files")
	flag.DurationVar(&cfg.RotateEvery, "rotate-every", cfg.RotateEvery, "how often sizes are checked; 0 = after every write")
	flag.DurationVar(&cfg.Wave, "wave", cfg.Wave, "write for so long, then nothing for -pause, and again; 0 = steadily")
	flag.DurationVar(&cfg.Pause, "pause", cfg.Pause, "see -wave")
	flag.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "same seed, same names and texts")
	duration := flag.Duration("duration", 0, "end after so long; 0 = after -lines or a signal")
	report := flag.Duration("report", 0, "print what is written so often, too; 0 = at the end only")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "gen: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if err := run(ctx, cfg, *report); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		if errors.As(err, new(usageError)) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

type usageError struct{ error }

func run(ctx context.Context, cfg workload.Config, report time.Duration) error {
	w, err := workload.New(cfg)
	if err != nil {
		return usageError{err}
	}
	start := time.Now()
	say := func() error {
		lines, bytes := w.Written()
		return json.NewEncoder(os.Stdout).Encode(written{lines, bytes, time.Since(start).Seconds()})
	}
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	var tick <-chan time.Time
	if report > 0 {
		tick = time.Tick(report)
	}
	for {
		select {
		case <-tick:
			if err := say(); err != nil {
				return err
			}
		case err := <-done:
			return errors.Join(err, say())
		}
	}
}
