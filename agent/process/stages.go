package process

import (
	"context"
	"sync"
	"time"
)

// Stages runs the parts of a program, and ends them in the direction in which data flows: what reads, what sends, and at
// last what tells about both.
type Stages struct {
	reading, sending, serving *stage
	failed                    chan error
}

// stage is parts that end together.
type stage struct {
	ctx  context.Context
	stop context.CancelFunc
	sync.WaitGroup
}

func newStage(ctx context.Context) *stage {
	ctx, stop := context.WithCancel(ctx)
	return &stage{ctx: ctx, stop: stop}
}

func (s *stage) end() {
	s.stop()
	s.Wait()
}

// NewStages has no parts yet. The end of ctx ends none of them: [Stages.Drain] and [Stages.Close] do.
func NewStages(ctx context.Context) *Stages {
	ctx = context.WithoutCancel(ctx)
	return &Stages{reading: newStage(ctx), sending: newStage(ctx), serving: newStage(ctx), failed: make(chan error, 1)}
}

// Read runs a part that reads records, or receives them.
func (s *Stages) Read(run func(context.Context)) { s.reading.Go(func() { run(s.reading.ctx) }) }

// Send runs the part that delivers them.
func (s *Stages) Send(run func(context.Context)) { s.sending.Go(func() { run(s.sending.ctx) }) }

// Serve runs a part that others ask, or that looks after them.
func (s *Stages) Serve(run func(context.Context)) { s.serving.Go(func() { run(s.serving.ctx) }) }

// Fail tells who waits for [Stages.Failed] that the program can't go on, if err is not nil. The first error counts.
func (s *Stages) Fail(err error) {
	if err == nil {
		return
	}
	select {
	case s.failed <- err:
	default:
	}
}

// Failed has the error of [Stages.Fail].
func (s *Stages) Failed() <-chan error { return s.failed }

// Drain ends reading, and then sending, when everything is delivered or that time is up. closeInput says that nothing more
// comes, so that open batches become the last ones.
func (s *Stages) Drain(closeInput func(), timeout time.Duration) {
	s.reading.end()
	closeInput()
	late := time.AfterFunc(timeout, s.sending.stop)
	defer late.Stop()
	s.sending.Wait()
}

// Close ends what is left, in the same order, and waits for it.
func (s *Stages) Close() {
	s.reading.end()
	s.sending.end()
	s.serving.end()
}
