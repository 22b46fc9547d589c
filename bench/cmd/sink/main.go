// Command sink is an OTLP receiver that counts what it gets. It prints its
// addresses as one line of JSON at the start and its counters at the end; GET
// /counters on the control address tells them meanwhile.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"stint/bench/sink"
)

func main() {
	cfg := sink.Config{GRPC: "127.0.0.1:4317", HTTP: "127.0.0.1:4318", Control: "127.0.0.1:4319"}
	flag.StringVar(&cfg.GRPC, "grpc", cfg.GRPC, "address for OTLP over gRPC; port 0 = any free one, here and below")
	flag.StringVar(&cfg.HTTP, "http", cfg.HTTP, "address for OTLP over HTTP")
	flag.StringVar(&cfg.Control, "control", cfg.Control, "address for GET /counters")
	flag.BoolVar(&cfg.Check, "check", false, "account for the sequence numbers of gen in log bodies")
	flag.StringVar(&cfg.Store, "store", "", "file for the unpacked requests with logs, one after the other")
	flag.IntVar(&cfg.Rate, "rate", 0, "take so many records a second at most; 0 = as many as come")
	flag.BoolVar(&cfg.Fault.Refuse, "refuse", false, "close connections as they come")
	flag.DurationVar(&cfg.Fault.Delay, "delay", 0, "wait so long before each answer")
	flag.IntVar(&cfg.Fault.Status, "status", 0, "answer with this HTTP status or its gRPC code, and do not count")
	flag.DurationVar(&cfg.Fault.RetryAfter, "retry-after", 0, "say so in answers of -status")
	flag.Int64Var(&cfg.Fault.First, "first", 0, "misbehave to the first N requests only (with -refuse: connections)")
	flag.DurationVar(&cfg.Fault.From, "from", 0, "misbehave from so long after the start")
	flag.DurationVar(&cfg.Fault.To, "to", 0, "misbehave until so long after the start; 0 = without end")
	flag.Float64Var(&cfg.Fault.Fraction, "fraction", 0, "misbehave to this share of requests, by chance; 0 = to all")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "sink: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(cfg); err != nil {
		fmt.Fprintln(os.Stderr, "sink:", err)
		os.Exit(1)
	}
}

func run(cfg sink.Config) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s, err := sink.New(cfg)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(s.Addresses()); err != nil {
		return err
	}
	if err := s.Run(ctx); err != nil {
		return err
	}
	return out.Encode(s.Counters())
}
