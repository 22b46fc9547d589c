// Command flood sends marked log records to an OTLP receiver from many clients at a pace that it may not keep up with, and
// does as clients should: what is refused is sent again after the time that the answer names. It prints what became of all as
// one line of JSON. At the end every client goes on until its last request is taken.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"stint/export"
	"stint/export/otlp"
)

// account is what flood prints.
type account struct {
	Offered      int64    `json:"offered_records"`      // in all attempts
	Acknowledged int64    `json:"acknowledged_records"` // each once
	Refused      int64    `json:"refused_requests"`     // with the time to come back
	Hasty        int64    `json:"hasty_refusals"`       // without it
	Unanswered   int64    `json:"unanswered_requests"`  // connection lost, or no answer in time
	Abandoned    int64    `json:"abandoned_requests"`   // still refused at the end
	Seconds      float64  `json:"seconds"`              // of offering
	Samples      []string `json:"samples,omitempty"`    // of hasty and unanswered ones, the first five
}

// flood is what all clients share.
type flood struct {
	records, body int
	pace          *time.Ticker
	end           context.Context // no new request after it

	mu  sync.Mutex // guards everything below
	all account
}

// outcome of an attempt: err is nil when it was taken; after is 0 when a refusal names no time.
type outcome struct {
	err     error
	after   time.Duration
	refused bool // there was an answer
}

const (
	timeout  = 10 * time.Second // of an attempt, as exporters have it
	fallback = time.Second      // pause where no time is named
	lastWait = 3 * time.Minute  // for the last request of each client
)

func main() {
	grpcTo := flag.String("grpc", "", "host:port of the receiver for OTLP over gRPC")
	httpTo := flag.String("http", "", "and over HTTP")
	clients := flag.Int("clients", 200, "half of them use gRPC")
	rate := flag.Int("rate", 30_000, "records a second of all clients, tried again or not")
	duration := flag.Duration("duration", 2*time.Minute, "how long new requests are made")
	f := &flood{}
	flag.IntVar(&f.records, "batch", 500, "records of a request")
	flag.IntVar(&f.body, "body", 1000, "bytes of a record's body")
	flag.Parse()

	end, stop := context.WithTimeout(context.Background(), *duration)
	defer stop()
	f.end = end
	f.pace = time.NewTicker(time.Duration(f.records) * time.Second / time.Duration(*rate))
	start := time.Now()
	var all sync.WaitGroup
	for i := range *clients {
		// Each is a machine of its own to the receiver.
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%250))}}
		send, err := newHTTP(dialer, *httpTo), error(nil)
		if i%2 == 0 {
			send, err = newGRPC(dialer, *grpcTo)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "flood:", err)
			os.Exit(1)
		}
		all.Go(func() { f.client(fmt.Sprintf("client-%d", i), send) })
	}
	<-end.Done()
	f.mu.Lock()
	f.all.Seconds = time.Since(start).Seconds()
	f.mu.Unlock()
	all.Wait()
	json.NewEncoder(os.Stdout).Encode(f.all)
}

// client sends one request after the other, each until it is taken.
func (f *flood) client(name string, send func(context.Context, []byte) outcome) {
	group := otlp.NewGroup([]otlp.KeyValue{otlp.Attr("k8s.pod.name", name)}, otlp.SchemaURL, "stint/bench", "1")
	seq := 0
	var records, request, body []byte
	for f.end.Err() == nil {
		records = records[:0]
		for range f.records {
			seq++
			body = fmt.Appendf(body[:0], "w=%s seq=%d ", name, seq)
			for len(body) < f.body {
				body = append(body, "more words "...)
			}
			records = otlp.AppendLogRecord(records, &otlp.LogRecord{Time: uint64(time.Now().UnixNano()), Body: body})
		}
		request = append(group.AppendFrame(request[:0], len(records)), records...)
		if !f.deliver(request, send) {
			return
		}
	}
}

func (f *flood) deliver(request []byte, send func(context.Context, []byte) outcome) bool {
	last, cancel := context.WithCancel(context.Background())
	defer cancel()
	context.AfterFunc(f.end, func() { time.AfterFunc(lastWait, cancel) })
	for {
		select {
		case <-f.pace.C:
		case <-last.Done():
			f.count(func(a *account) { a.Abandoned++ })
			return false
		}
		ctx, done := context.WithTimeout(last, timeout)
		o := send(ctx, request)
		done()
		f.count(func(a *account) {
			a.Offered += int64(f.records)
			switch {
			case o.err == nil:
				a.Acknowledged += int64(f.records)
				return
			case o.refused && o.after > 0:
				a.Refused++
				return
			case o.refused:
				a.Hasty++
			default:
				a.Unanswered++
			}
			if len(a.Samples) < 5 {
				a.Samples = append(a.Samples, o.err.Error())
			}
		})
		if o.err == nil {
			return true
		}
		if o.after == 0 {
			o.after = fallback
		}
		select {
		case <-time.After(o.after):
		case <-last.Done():
		}
	}
}

func (f *flood) count(note func(*account)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	note(&f.all)
}

func newGRPC(dialer *net.Dialer, to string) (func(context.Context, []byte) outcome, error) {
	c, err := grpc.NewClient("passthrough:///"+to, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(export.Codec{})),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", addr) }))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, request []byte) outcome {
		var answer []byte
		err := c.Invoke(ctx, "/opentelemetry.proto.collector.logs.v1.LogsService/Export", request, &answer)
		if err == nil {
			return outcome{}
		}
		st := status.Convert(err)
		o := outcome{err: err, refused: st.Code() == codes.ResourceExhausted}
		for _, d := range st.Details() {
			if r, ok := d.(*errdetails.RetryInfo); ok {
				o.refused, o.after = true, r.GetRetryDelay().AsDuration()
			}
		}
		return o
	}, nil
}

func newHTTP(dialer *net.Dialer, to string) func(context.Context, []byte) outcome {
	client := http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 1}}
	return func(ctx context.Context, request []byte) outcome {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to+"/v1/logs", bytes.NewReader(request))
		if err != nil {
			return outcome{err: err}
		}
		req.Header.Set("Content-Type", "application/x-protobuf")
		resp, err := client.Do(req)
		if err != nil {
			return outcome{err: err}
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if resp.StatusCode == http.StatusOK {
			return outcome{err: err}
		}
		after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return outcome{err: errors.New(resp.Status + ": " + string(text)), refused: true, after: time.Duration(after) * time.Second}
	}
}
