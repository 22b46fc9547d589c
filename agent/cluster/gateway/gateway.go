package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc"

	"stint/export"
	"stint/export/otlp"
	"stint/scrape/kube/lookup"
)

// Options are what a Gateway is made of.
type Options struct {
	Config
	Pool       *otlp.Pool                          // requests are accounted here before they are read
	Input      func(otlp.Signal) func(*otlp.Chunk) // where chunks of a signal go; nil: no pipeline takes it
	Full       func(otlp.Signal) bool              // a spool has no room for records of a signal; nil: never
	Lookup     *lookup.Lookup                      // adds to resources; nil: nothing is added
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Gateway is the two servers. New opens their ports; Run serves.
type Gateway struct {
	cfg       Config
	pool      *otlp.Pool
	room      int64 // most that the pool ever has, bytes
	in        [otlp.Signals]func(*otlp.Chunk)
	spoolFull func(otlp.Signal) bool
	lookup    *lookup.Lookup
	log       *slog.Logger
	token     func() (export.Secret, error) // nil: none is asked for
	ids       repeats
	quota     quota
	usual     atomic.Int64 // bytes of the largest requests that came lately by gRPC
	stats     metrics

	grpc, http net.Listener // nil: none
	grpcServer *grpc.Server
	httpServer *http.Server
}

// New opens the ports.
func New(o Options) (_ *Gateway, err error) {
	g := &Gateway{cfg: o.Config, pool: o.Pool, room: o.Pool.Limit(), spoolFull: o.Full, lookup: o.Lookup, log: o.Log, stats: newMetrics(o.Registerer)}
	g.quota.most = max(o.Pool.Limit()/4, int64(o.MaxRequestBytes)+1, otlp.SlabSize) // as read asks for the largest request
	for s := range otlp.Signals {
		g.in[s] = o.Input(s)
	}
	if o.BearerTokenFile != "" {
		t := &tokenFile{path: o.BearerTokenFile}
		if _, err := t.get(); err != nil {
			return nil, fmt.Errorf("gateway.bearer_token_file: %w", err)
		}
		g.token = t.get
	}
	tls, err := serverTLS(o.TLS, o.Log)
	if err != nil {
		return nil, fmt.Errorf("gateway.tls.%w", err)
	}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	if o.GRPC != "" {
		if g.grpc, err = net.Listen("tcp", o.GRPC); err != nil {
			return nil, fmt.Errorf("gateway.grpc: %w", err)
		}
		g.grpc = newSlots(g.grpc, maxConnections)
		g.grpcServer = g.newGRPC(tls)
	}
	if o.HTTP != "" {
		if g.http, err = net.Listen("tcp", o.HTTP); err != nil {
			return nil, fmt.Errorf("gateway.http: %w", err)
		}
		g.http = datedListener{netutil.LimitListener(g.http, maxConnections)}
		g.httpServer = g.newHTTP(tls)
	}
	return g, nil
}

// maxConnections is how many clients a server has at a time; more wait until one has gone.
const maxConnections = 16384

// Close gives the ports back; what Run has closed may be closed again.
func (g *Gateway) Close() {
	for _, l := range []net.Listener{g.grpc, g.http} {
		if l != nil {
			l.Close()
		}
	}
}

// Addresses are where the servers are found; empty: there is none.
func (g *Gateway) Addresses() (grpc, http string) {
	if g.grpc != nil {
		grpc = g.grpc.Addr().String()
	}
	if g.http != nil {
		http = g.http.Addr().String()
	}
	return grpc, http
}

// stopGrace is how long requests under way may take at the end. Those that wait for a destination are
// answered earlier, when their records are on disk or given back.
const stopGrace = 5 * time.Second

// Run serves until ctx ends. Then it takes no new request and answers those under way.
func (g *Gateway) Run(ctx context.Context) error {
	var serving sync.WaitGroup
	errs := make(chan error, 2)
	if g.grpcServer != nil {
		serving.Go(func() { errs <- g.grpcServer.Serve(g.grpc) })
	}
	if g.httpServer != nil {
		serving.Go(func() {
			if g.httpServer.TLSConfig != nil {
				errs <- g.httpServer.ServeTLS(g.http, "", "")
			} else {
				errs <- g.httpServer.Serve(g.http)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-errs:
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	var stopping sync.WaitGroup
	if s := g.grpcServer; s != nil {
		stopping.Go(func() {
			hard := context.AfterFunc(grace, s.Stop)
			defer hard()
			s.GracefulStop() // GOAWAY
		})
	}
	if s := g.httpServer; s != nil {
		stopping.Go(func() {
			if s.Shutdown(grace) != nil {
				s.Close()
			}
		})
	}
	stopping.Wait()
	serving.Wait()
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// refusal is why a request is not taken.
type refusal int

const (
	accepted  refusal = iota
	malformed         // never to be sent again
	tooLarge          // nor this, in one piece
	busy              // later
	greedy            // the same: this client has its share
	unwanted          // no pipeline takes the signal
)

// answer is what becomes of a request.
type answer struct {
	refusal refusal
	warning string        // with accepted: what the client should know
	text    string        // for people, where it was not accepted
	after   time.Duration // with busy and greedy
}

// response is the Export*ServiceResponse to a request that was accepted.
func (a answer) response() []byte {
	if a.warning == "" {
		return []byte{}
	}
	return otlp.AppendPartialSuccess(nil, 0, a.warning)
}

// busyFor spreads the return of clients that were all refused at the same time.
func busyFor() time.Duration { return time.Second + rand.N(4*time.Second) }

// take hands on a client's request, whose bytes are slab's, and waits for its end. The slab is released.
func (g *Gateway) take(ctx context.Context, signal otlp.Signal, slab *otlp.Slab, client lookup.Client, id string) (a answer) {
	defer slab.Release()
	records, err := otlp.Count(signal, slab.Buf)
	var pieces []otlp.Piece
	if err == nil {
		pieces, err = otlp.Pieces(signal, slab.Buf)
	}
	if err != nil {
		g.stats.refused(signal, "malformed")
		return answer{refusal: malformed, text: err.Error()}
	}
	if g.in[signal] == nil {
		g.stats.refused(signal, "no_pipeline")
		return answer{refusal: unwanted, text: "no pipeline of this gateway takes " + signal.String()}
	}
	more := sizeOf(pieces) - cap(slab.Buf)
	if g.lookup != nil && more <= g.cfg.MaxRequestBytes {
		client.Stint = id != ""
		for i := range pieces {
			pieces[i].Group = g.lookup.Enrich(ctx, client, pieces[i].Group)
		}
		more = sizeOf(pieces) - cap(slab.Buf)
	}
	var hold *otlp.Slab
	if more > g.cfg.MaxRequestBytes {
		g.stats.refused(signal, "too_large")
		return answer{refusal: tooLarge, text: fmt.Sprintf("a request of %d scopes, each of which counts with its resource, has %d bytes too many; send it in parts", len(pieces), more-g.cfg.MaxRequestBytes)}
	} else if more > 0 {
		if !g.quota.take(client.Address, more) {
			g.stats.refused(signal, "quota")
			return answer{refusal: greedy, text: "this client's requests take a quarter of the memory already", after: busyFor()}
		}
		defer g.quota.give(client.Address, more)
		if hold = g.pool.TryGet(more); hold == nil {
			g.stats.refused(signal, "no_memory")
			return answer{refusal: busy, text: "no memory for this request", after: busyFor()}
		}
	}
	c, again := g.ids.begin(id)
	if again && c.aborted() {
		g.ids.forget(id, c)
		c, again = g.ids.begin(id)
	}
	if again {
		g.stats.repeated(signal, records)
		if hold != nil {
			hold.Release()
		}
	} else {
		c.hold = hold
		c.hand(g.in[signal], signal, slab, pieces)
		g.stats.received(signal, records, len(slab.Buf))
	}
	if g.cfg.Ack == "memory" {
		return answer{}
	}
	select {
	case <-c.done:
	case <-ctx.Done(): // the client has gone, or its time is up; it will ask again
		g.stats.refused(signal, "busy")
		return answer{refusal: busy, text: "the destinations have not taken it yet", after: busyFor()}
	}
	switch c.outcome {
	case otlp.Delivered:
		return answer{}
	case otlp.Dropped:
		return answer{warning: "a destination refused some of these records for good; they are counted at the gateway"}
	}
	g.ids.forget(id, c) // it is to be sent again, to another replica or later
	g.stats.refused(signal, "busy")
	return answer{refusal: busy, text: "it could not be kept: the gateway stops, or has no room", after: busyFor()}
}

// sizeOf is what pieces take when each stands under its own resource and scope.
func sizeOf(pieces []otlp.Piece) (n int) {
	for _, p := range pieces {
		n += p.Group.FrameLen(len(p.Data)) + len(p.Data)
	}
	return n
}

// call is a request on its way. It is the origin of its chunks.
type call struct {
	done    chan struct{} // closed at the end
	outcome otlp.Outcome  // valid when done is closed
	hold    *otlp.Slab    // accounts for what the scopes take on top of the request; nil: nothing

	mu    sync.Mutex // guards everything below
	left  int
	worst otlp.Outcome
}

// aborted says that the call has ended and its records are nowhere: with ack memory nobody waited for that.
func (c *call) aborted() bool {
	select {
	case <-c.done:
		return c.outcome == otlp.Aborted
	default:
		return false
	}
}

// hand makes a chunk of each piece. Chunks hold the slab; a group, which may be kept longer, does not.
func (c *call) hand(in func(*otlp.Chunk), signal otlp.Signal, slab *otlp.Slab, pieces []otlp.Piece) {
	c.left = len(pieces)
	if len(pieces) == 0 {
		close(c.done)
		return
	}
	for _, p := range pieces {
		chunk := otlp.NewChunk(slab, p.Data)
		chunk.Group, chunk.Records, chunk.Signal, chunk.Again, chunk.Origin = p.Group.Clone(), p.Records, signal, true, c
		chunk.Lane = chunk.Group.Hash() // records of one container stay in order
		in(chunk)
	}
}

// Settled implements otlp.Origin.
func (c *call) Settled(_ *otlp.Chunk, o otlp.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.worst = max(c.worst, o)
	if c.left--; c.left == 0 {
		c.outcome = c.worst
		if c.hold != nil {
			c.hold.Release()
		}
		close(c.done)
	}
}
