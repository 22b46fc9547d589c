package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// The Pods API (k8s.io/kubelet/pkg/apis/pods/v1alpha1/api.proto, Kubernetes 1.37). A WatchPodsEvent
// has a type in field 1 and a v1.Pod in field 2; a WatchPodsRequest is empty. The drafts of it
// before 1.37 numbered the types from 0, without INITIAL_SYNC_COMPLETE: those can't be told
// apart, and such a kubelet is polled.
const watchPods = "/v1alpha1.Pods/WatchPods"

const (
	eventAdded       = 1
	eventModified    = 2
	eventDeleted     = 3 // the pod has a name and a uid, nothing else
	eventInitialSync = 4 // INITIAL_SYNC_COMPLETE: every pod was told of; no pod
)

// maxEvent bounds a message. etcd takes objects up to 1.5 MiB; a status can add to that.
const maxEvent = 4 << 20

var (
	// errAbsent is in errors that say that there is no Pods API for us here.
	errAbsent = errors.New("no Pods API")
	errSlow   = errors.New("the list of all pods did not come in time")
)

// watchAgain watches the Pods API, again and again.
func (p *Pods) watchAgain(ctx context.Context) {
	wait, ever := p.pace.retryMin, false
	for {
		began := time.Now()
		err := p.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		worked := p.watchEnded(err)
		ever = ever || worked
		pause := p.pace.absent
		if ever || !errors.Is(err, errAbsent) { // a kubelet that restarts has no socket for a while
			if worked && time.Since(began) > p.pace.retryMax {
				wait = p.pace.retryMin
			}
			pause, wait = wait, min(2*wait, p.pace.retryMax)
		}
		if p.cfg.PodsAPISocket == "" {
			return
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return
		}
	}
}

// watchEnded notes that the watch does not feed the table, and why, and tells whether it did.
func (p *Pods) watchEnded(err error) (worked bool) {
	if reasonOf(err) == "absent" { // Kubernetes before 1.37, or a directory that is not mounted: no fault
		p.mu.Lock()
		p.lastError, p.lastErrAt = err.Error(), time.Now()
		p.mu.Unlock()
	} else {
		p.failed(err)
	}
	p.mu.Lock()
	worked, p.watching, p.noWatch = p.watching, false, err.Error()
	p.mu.Unlock()
	select {
	case p.down <- struct{}{}:
	default:
	}
	return worked
}

// watch watches the Pods API once, until the stream or ctx ends.
func (p *Pods) watch(ctx context.Context) error {
	socket := p.cfg.PodsAPISocket
	if socket == "" {
		return fail("absent", "%w: scrape.kubelet.pods_api_socket is empty", errAbsent)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A kubelet that hangs is given up. Later a long silence only means that no pod changes: pings
	// would be of no use, and a server may end connections because of them.
	slow := time.AfterFunc(p.cfg.Timeout, func() { cancel(errSlow) })
	defer slow.Stop()

	var refused atomic.Pointer[error] // of the socket; what grpc makes of it is text
	conn, err := grpc.NewClient("passthrough:///localhost",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a Unix socket: file permissions decide
		grpc.WithDisableServiceConfig(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
			if err != nil {
				refused.Store(&err)
			}
			return c, err
		}))
	if err != nil {
		return fail("watch", "%s: %w", socket, err)
	}
	defer conn.Close()

	w := watch{Pods: p, seen: map[string]struct{}{}}
	err = w.receive(ctx, conn, slow)
	switch code := status.Code(err); {
	case errors.Is(err, errAbsent):
		return err
	case context.Cause(ctx) == errSlow:
		return fail("timeout", "%s: %w (%v); is the kubelet overloaded?", socket, errSlow, p.cfg.Timeout)
	case refused.Load() != nil && errors.Is(*refused.Load(), fs.ErrNotExist):
		return fail("absent", "%w: %w", errAbsent, *refused.Load())
	case refused.Load() != nil && errors.Is(*refused.Load(), fs.ErrPermission), code == codes.PermissionDenied:
		return fail("permission", "%w for this user: %s: permission denied; run the agent as uid 0, or empty scrape.kubelet.pods_api_socket to have /pods polled", errAbsent, socket)
	case refused.Load() != nil:
		return fail("unreachable", "%w", *refused.Load())
	case code == codes.Unimplemented:
		return fail("absent", "%w: %s serves something else", errAbsent, socket)
	}
	return fail("watch", "%s: %w", socket, err)
}

// watch is one watch.
type watch struct {
	*Pods
	seen   map[string]struct{} // until all pods were told of
	broken bool                // one of them could not be understood
}

// receive takes events over until the stream ends. slow is stopped once all pods are known.
func (w *watch) receive(ctx context.Context, conn *grpc.ClientConn, slow *time.Timer) error {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, watchPods, grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(maxEvent))
	if err != nil {
		return err
	}
	if err := stream.SendMsg([]byte(nil)); err != nil && err != io.EOF { // after io.EOF, RecvMsg has the error
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	var msg []byte
	for {
		if err := stream.RecvMsg(&msg); err == io.EOF {
			return errors.New("the kubelet ended the stream")
		} else if err != nil {
			return err
		}
		if err := w.event(msg, time.Now()); errors.Is(err, errAbsent) {
			return err
		} else if err != nil {
			w.broken = true
			w.failed(err)
		}
		if w.seen == nil {
			slow.Stop()
		} else {
			slow.Reset(w.cfg.Timeout)
		}
	}
}

// event takes one event over, and keeps nothing of msg.
func (w *watch) event(msg []byte, now time.Time) (err error) {
	var kind uint64
	var data []byte
	for f := range fields(msg, &err) {
		switch f.num {
		case 1:
			kind = f.n
		case 2:
			data = f.data
		}
	}
	if err != nil {
		return err
	}
	var pod *Pod
	switch kind {
	case eventAdded, eventModified, eventDeleted:
		w.decode.Lock()
		pod, err = decodePod(data, w.texts)
		w.decode.Unlock()
		if err != nil {
			return err
		}
	case eventInitialSync:
	case 0:
		if data != nil {
			return fail("absent", "%w: this kubelet serves a draft of it", errAbsent)
		}
		return fail("malformed", "event of the Pods API without a type")
	default: // of a later version
		return nil
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	w.lastUpdate = now
	switch kind {
	case eventAdded, eventModified:
		w.put(pod, sourceWatch)
		if w.seen != nil {
			w.seen[pod.UID] = struct{}{}
		}
	case eventDeleted:
		w.remove(pod.UID, sourceWatch, now)
		delete(w.seen, pod.UID)
	case eventInitialSync:
		if w.seen != nil && !w.broken { // else a pod that is there may have been taken for none
			w.reconcile(w.seen, sourceWatch, now)
		}
		w.seen, w.watching = nil, true
		w.epoch++
		w.from(sourceWatch)
	}
	return nil
}

// rawCodec hands messages over as bytes. It is called "proto", as servers expect.
type rawCodec struct{}

// Name implements encoding.CodecV2.
func (rawCodec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2 for []byte.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("bug: codec got a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

// Unmarshal implements encoding.CodecV2 for *[]byte, whose memory it uses again.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("bug: codec got a %T", v)
	}
	*b = (*b)[:0]
	for _, part := range data {
		*b = append(*b, part.ReadOnlyData()...)
	}
	return nil
}
