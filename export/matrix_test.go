package export

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"stint/export/otlp"
)

// kind is a kind of server that is reached over HTTP: how stint is told of it, and how it reads,
// accepts and refuses.
type kind struct {
	exporter func(url string) Exporter
	signal   otlp.Signal
	read     func(t *testing.T, body []byte) (ids []string, bad []bool)
	accept   func(w http.ResponseWriter, ids []string)
	// refuse answers that records are bad. Some servers keep the others all the same.
	refuse    func(w http.ResponseWriter, ids []string, bad []bool)
	keepsGood bool
}

func refuseWithStatus(w http.ResponseWriter, _ []string, _ []bool) {
	b, _ := proto.Marshal(&statuspb.Status{Message: "a record is bad"})
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.WriteHeader(http.StatusBadRequest)
	w.Write(b)
}

func idsOf(bodies []string) (ids []string, bad []bool) {
	for _, b := range bodies {
		id, rest, _ := strings.Cut(b, " ")
		ids, bad = append(ids, id), append(bad, strings.HasPrefix(rest, "bad"))
	}
	return ids, bad
}

func readLogs(t *testing.T, body []byte) ([]string, []bool) {
	var m collogs.ExportLogsServiceRequest
	if err := proto.Unmarshal(body, &m); err != nil {
		t.Error(err)
	}
	return idsOf(logBodies(&m))
}

var kinds = map[string]kind{
	"otlphttp": {
		exporter: func(url string) Exporter { return &OTLPHTTP{Endpoint: url, Compression: "gzip"} },
		read:     readLogs,
		accept:   func(w http.ResponseWriter, _ []string) { w.Header().Set("Content-Type", "application/x-protobuf") },
		refuse:   refuseWithStatus,
	},
	"otlphttp in JSON": {
		exporter: func(url string) Exporter { return &OTLPHTTP{Endpoint: url, Encoding: "json", Compression: "zstd"} },
		read: func(t *testing.T, body []byte) ([]string, []bool) {
			var m collogs.ExportLogsServiceRequest
			if err := protojson.Unmarshal(body, &m); err != nil {
				t.Error(err)
			}
			return idsOf(logBodies(&m))
		},
		accept: func(w http.ResponseWriter, _ []string) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"partialSuccess":{}}`)
		},
		refuse: func(w http.ResponseWriter, _ []string, _ []bool) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"code":3,"message":"a record is bad"}`)
		},
	},
	"prometheus": {
		exporter: func(url string) Exporter {
			return &OTLPHTTP{MetricsEndpoint: url + "/api/v1/otlp/v1/metrics", Compression: "gzip", PromoteResource: "auto"}
		},
		signal: otlp.Metrics,
		read: func(t *testing.T, body []byte) ([]string, []bool) {
			var m colmetrics.ExportMetricsServiceRequest
			if err := proto.Unmarshal(body, &m); err != nil {
				t.Error(err)
			}
			return idsOf(metricNames(&m))
		},
		accept: func(http.ResponseWriter, []string) {},
		refuse: func(w http.ResponseWriter, _ []string, _ []bool) {
			http.Error(w, "out of order sample", http.StatusBadRequest)
		},
	},
	"loki over OTLP": {
		exporter: func(url string) Exporter { l := newTestLoki(url); return l },
		read:     readLogs,
		accept:   func(w http.ResponseWriter, _ []string) { w.WriteHeader(http.StatusNoContent) },
		refuse:   refuseByLoki, keepsGood: true,
	},
	"loki's push": {
		exporter: func(url string) Exporter { return newTestLoki(url + "/loki/api/v1/push") },
		read: func(t *testing.T, body []byte) ([]string, []bool) {
			b, err := snappy.Decode(nil, body)
			if err != nil {
				t.Error(err)
			}
			var lines []string
			fields(t, b, func(_ protowire.Number, stream []byte, _ uint64) {
				fields(t, stream, func(n protowire.Number, entry []byte, _ uint64) {
					if n == 2 {
						fields(t, entry, func(n protowire.Number, v []byte, _ uint64) {
							if n == 2 {
								lines = append(lines, string(v))
							}
						})
					}
				})
			})
			return idsOf(lines)
		},
		accept: func(w http.ResponseWriter, _ []string) { w.WriteHeader(http.StatusNoContent) },
		refuse: refuseByLoki, keepsGood: true,
	},
	"elasticsearch": {
		exporter: func(url string) Exporter {
			v, err := Exporters{}.NewValue("elasticsearch")
			if err != nil {
				panic(err)
			}
			e := v.(*Elasticsearch)
			e.Endpoint = url
			return e
		},
		read: func(t *testing.T, body []byte) ([]string, []bool) {
			var bodies []string
			for i, l := range strings.Split(strings.TrimSuffix(string(body), "\n"), "\n") {
				if i%2 == 0 {
					continue // what to do
				}
				var doc struct{ Body struct{ Text string } }
				if err := json.Unmarshal([]byte(l), &doc); err != nil {
					t.Errorf("%v in %s", err, l)
				}
				bodies = append(bodies, doc.Body.Text)
			}
			return idsOf(bodies)
		},
		accept: func(w http.ResponseWriter, ids []string) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"errors":false,"took":1}`)
		},
		refuse: func(w http.ResponseWriter, ids []string, bad []bool) {
			var items []string
			for _, b := range bad {
				if b {
					items = append(items, `{"create":{"_index":"i","status":400,"error":{"type":"document_parsing_exception","reason":"a record is bad"}}}`)
				} else {
					items = append(items, `{"create":{"_index":"i","status":201}}`)
				}
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"errors":true,"took":1,"items":[%s]}`, strings.Join(items, ","))
		},
		keepsGood: true,
	},
}

func refuseByLoki(w http.ResponseWriter, _ []string, bad []bool) {
	n := 0
	for _, b := range bad {
		if b {
			n++
		}
	}
	b, _ := proto.Marshal(&statuspb.Status{Message: fmt.Sprintf("entry for stream refused, total ignored: %d out of %d", n, len(bad))})
	w.WriteHeader(http.StatusBadRequest)
	w.Write(b)
}

// faulty is a server of a kind that does something else with some requests.
type faulty struct {
	t *testing.T
	kind
	fault fault
	slow  bool // to read requests

	mu       sync.Mutex
	requests int
	got      []string
}

// fault is what a server does to the nth request, from 1, in place of a plain answer. It says whether
// that is all; where it is not, the request is taken and answered as ever. keep takes the records.
type fault func(n int, w http.ResponseWriter, r *http.Request, body []byte, keep func()) (done bool)

// firstTimes does it to the first n requests only.
func firstTimes(n int, do func(w http.ResponseWriter, r *http.Request, keep func())) fault {
	return func(i int, w http.ResponseWriter, r *http.Request, _ []byte, keep func()) bool {
		if i > n {
			return false
		}
		do(w, r, keep)
		return true
	}
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in io.Reader = r.Body
	if f.slow {
		in = sipping{in}
	}
	raw, err := io.ReadAll(in)
	if err != nil {
		return // the client gave up
	}
	body, err := decompress(r.Header.Get("Content-Encoding"), raw)
	if err != nil {
		f.t.Error(err)
	}
	ids, bad := f.read(f.t, body)
	f.mu.Lock()
	f.requests++
	n := f.requests
	f.mu.Unlock()
	keep := func(leaveOut []bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for i, id := range ids {
			if leaveOut == nil || !leaveOut[i] {
				f.got = append(f.got, id)
			}
		}
	}
	if f.fault(n, w, r, body, func() { keep(nil) }) {
		return
	}
	if slices.Contains(bad, true) {
		if f.keepsGood {
			keep(bad)
		}
		f.refuse(w, ids, bad)
		return
	}
	keep(nil)
	f.accept(w, ids)
}

// sipping reads a little at a time.
type sipping struct{ io.Reader }

func (s sipping) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return s.Reader.Read(p[:min(len(p), 100)])
}

func hijack(w http.ResponseWriter) *net.TCPConn {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	return c.(*net.TCPConn)
}

// reset ends the connection at once, with a RST.
func reset(w http.ResponseWriter) {
	c := hijack(w)
	c.SetLinger(0)
	c.Close()
}

// Each fault against each destination: what is counted, and what arrived. Nothing is lost that the
// destination would have taken, and nothing is sent again where it had said that it has it.
func TestMatrix(t *testing.T) {
	const records, inChunk = 120, 30
	status := func(code int, header ...string) func(http.ResponseWriter, *http.Request, func()) {
		return func(w http.ResponseWriter, _ *http.Request, _ func()) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			http.Error(w, "told to answer so", code)
		}
	}
	none := func(int, http.ResponseWriter, *http.Request, []byte, func()) bool { return false }
	for name, tc := range map[string]struct {
		fault  fault
		bad    []int // records of each chunk that the server takes for bad
		slow   bool
		unsure bool // the client can't know, so records may arrive twice
		drop   bool // a permanent error: the first request is lost, and counted
		wait   bool // longer than a test: it is looked at, and given up
		kind   Kind // of wait
	}{
		"nothing":               {fault: none},
		"a slow reader":         {fault: none, slow: true},
		"429 twice":             {fault: firstTimes(2, status(429))},
		"503 with a second":     {fault: firstTimes(1, status(503, "Retry-After", "1"))},
		"503 with a day":        {fault: firstTimes(1, status(503, "Retry-After", "86400")), wait: true, kind: Again},
		"502 by a proxy":        {fault: firstTimes(1, status(502)), unsure: true},
		"504, but it was taken": {fault: firstTimes(1, func(w http.ResponseWriter, _ *http.Request, keep func()) { keep(); w.WriteHeader(504) }), unsure: true},
		"401":                   {fault: firstTimes(1, status(401)), wait: true, kind: Auth},
		"404":                   {fault: firstTimes(1, status(404)), wait: true, kind: Misconfigured},
		"a redirect":            {fault: firstTimes(1, status(302, "Location", "/elsewhere")), wait: true, kind: Misconfigured},
		"413 over 6 kB": {fault: func(_ int, w http.ResponseWriter, _ *http.Request, body []byte, _ func()) bool {
			if len(body) > 6000 {
				http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			}
			return len(body) > 6000
		}},
		"bad records":            {fault: none, bad: []int{3, 4, 29}},
		"a hang":                 {fault: firstTimes(1, func(_ http.ResponseWriter, r *http.Request, _ func()) { <-r.Context().Done() }), unsure: true},
		"a reset, nothing taken": {fault: firstTimes(1, func(w http.ResponseWriter, _ *http.Request, _ func()) { reset(w) }), unsure: true},
		"a reset, taken":         {fault: firstTimes(1, func(w http.ResponseWriter, _ *http.Request, keep func()) { keep(); reset(w) }), unsure: true},
		"half a header of the answer": {fault: firstTimes(1, func(w http.ResponseWriter, _ *http.Request, keep func()) {
			keep()
			c := hijack(w)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nConte")
			c.Close()
		}), unsure: true},
		"no HTTP at all": {fault: firstTimes(1, func(w http.ResponseWriter, _ *http.Request, _ func()) {
			c := hijack(w)
			io.WriteString(c, "220 mail.example.org ESMTP\r\n")
			c.Close()
		}), unsure: true},
	} {
		for _, of := range slices.Sorted(maps.Keys(kinds)) {
			t.Run(name+"/"+of, func(t *testing.T) {
				t.Parallel()
				f := &faulty{t: t, kind: kinds[of], fault: tc.fault, slow: tc.slow}
				server := httptest.NewServer(f)
				defer func() { server.CloseClientConnections(); server.Close() }()
				x := f.exporter(server.URL)
				e, _ := newExporting(t, BatchDefaults(), Exporters{"x": x}, silent)
				e.outs["x"].retry, e.outs["x"].timeout = fast, time.Second
				s := newSource(t)
				for range records / inChunk {
					make := s.logs
					if f.signal == otlp.Metrics {
						make = s.metrics
					}
					e.Input(f.signal, "test")(make("a", inChunk, 100, badOf(tc.bad, records)...))
				}
				if tc.wait {
					f.waits(e, s, tc.kind)
					return
				}
				deliver(t, e)
				bad := len(tc.bad) * records / inChunk
				if bad > 0 && (!f.keepsGood || of == "elasticsearch") {
					s.want(0, records/inChunk, 0)
				} else {
					s.want(records/inChunk, 0, 0)
				}
				st := statusOf(t, e, f.signal)
				if st.Sent != int64(records-bad) || st.Dropped+st.Rejected != int64(bad) || (st.Resent > 0) != tc.unsure {
					t.Errorf("sent %d, dropped %d, rejected %d, resent %d, want %d and %d", st.Sent, st.Dropped, st.Rejected, st.Resent, records-bad, bad)
				}
				f.arrived(records, badOf(tc.bad, records), tc.unsure)
			})
		}
	}
}

// badOf are the numbers below n that are bad in each chunk of 30.
func badOf(of []int, n int) (all []int) {
	for i := 0; i < n; i += 30 {
		for _, b := range of {
			all = append(all, i+b)
		}
	}
	return all
}

// arrived fails unless all good records are there, once if nobody is unsure.
func (f *faulty) arrived(n int, bad []int, unsure bool) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	count := map[string]int{}
	for _, id := range f.got {
		count[id]++
	}
	for i := range n {
		got, most := count[body("a", i)], 1
		if unsure {
			most = 2
		}
		if isBad := slices.Contains(bad, i); isBad && got > 0 || !isBad && (got < 1 || got > most) {
			f.t.Fatalf("record %d arrived %d times of %d records", i, got, len(f.got))
		}
	}
}

// waits looks that the destination is left alone, and that what is held back is told so.
func (f *faulty) waits(e *Exporting, s *source, kind Kind) {
	f.t.Helper()
	e.CloseInput()
	ctx, stop := context.WithCancel(f.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	deadline := time.Now().Add(10 * time.Second)
	for statusOf(f.t, e, f.signal).Down == "" && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if st := statusOf(f.t, e, f.signal); st.Down != kind.String() {
		f.t.Errorf("the destination is %q, want %q", st.Down, kind)
	}
	stop()
	<-done
	s.want(0, 0, s.chunks) // it is read again after the next start
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.requests != 1 || len(f.got) != 0 {
		f.t.Errorf("%d requests, %d records arrived", f.requests, len(f.got))
	}
}
