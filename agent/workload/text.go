package workload

import (
	"math"
	"math/rand/v2"
	"unicode/utf8"
)

// Lengths of bodies: a log-normal distribution with median 150 B and 95 % under
// 500 B, and next to it 1 % of 4 KiB and 0.1 % of 40 KiB (picked in
// appendRecord).
const (
	medianBytes = 150
	sigma       = 0.69 // ln(500/150) / 1.745; that quantile is 95 % of all records
	minBytes    = 40
	maxBytes    = 3000
	longBytes   = 4 << 10
	hugeBytes   = 40 << 10

	markBytes = 22 // "w=c017-stdout seq=12345 ", about
)

// texts are made once, for writing must cost little. 400 KB in all.
type texts struct {
	short, long, huge []text
}

// text is a log message with holes, which are filled with new digits for each
// record: without them the logs would compress far too well.
type text struct {
	bytes []byte
	holes []hole
}

type hole struct {
	at, n   int // n ≤ 16
	decimal bool
}

func newTexts(rng *rand.Rand) texts {
	var t texts
	for range 1500 {
		n := medianBytes * math.Exp(sigma*rng.NormFloat64())
		t.short = append(t.short, newText(rng, int(min(max(n, minBytes), maxBytes))-markBytes))
	}
	for range 8 {
		t.long = append(t.long, newText(rng, longBytes-markBytes))
	}
	for range 2 {
		t.huge = append(t.huge, newText(rng, hugeBytes-markBytes))
	}
	return t
}

// newText makes a text of n bytes: a line of one of three styles, with as many
// fields as fit.
func newText(rng *rand.Rand, n int) text {
	var b []byte
	style := styles[rng.IntN(len(styles))]
	b = append(b, style.heads[rng.IntN(len(style.heads))]...)
	b = appendProse(b, rng)
	for len(b) < n {
		b = append(b, style.before...)
		f := fields[rng.IntN(len(fields))]
		b = append(b, f.key...)
		b = append(b, style.between...)
		b = append(b, f.value...)
		if f.value == "" {
			b = appendProse(b, rng)
		}
		b = append(b, style.after...)
	}
	b = b[:n]
	for i := n - 1; i >= n-utf8.UTFMax; i-- { // a character cut in two goes
		if utf8.RuneStart(b[i]) && !utf8.FullRune(b[i:]) {
			for ; i < n; i++ {
				b[i] = '.'
			}
			break
		}
	}
	return newHoles(b)
}

func appendProse(dst []byte, rng *rand.Rand) []byte {
	for i := range 3 + rng.IntN(9) {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, words[rng.IntN(len(words))]...)
	}
	return dst
}

// newHoles finds the runs of # and @ in b.
func newHoles(b []byte) text {
	t := text{bytes: b}
	for i := 0; i < len(b); {
		end := i
		for end < len(b) && b[end] == b[i] && end-i < 16 {
			end++
		}
		if b[i] == '#' || b[i] == '@' {
			t.holes = append(t.holes, hole{at: i, n: end - i, decimal: b[i] == '#'})
		}
		i = end
	}
	return t
}

// appendTo appends the text with new digits.
func (t text) appendTo(dst []byte, rng *rand.PCG) []byte {
	start := len(dst)
	dst = append(dst, t.bytes...)
	for _, h := range t.holes {
		fill := dst[start+h.at : start+h.at+h.n]
		bits := rng.Uint64()
		if h.decimal {
			for i := range fill {
				fill[i] = byte('0' + bits%10)
				bits /= 10
			}
			continue
		}
		for i := range fill {
			fill[i] = "0123456789abcdef"[bits&15]
			bits >>= 4
		}
	}
	return dst
}

// style is a way of writing log lines. # stands for a decimal digit and @ for
// a hexadecimal one, here and in fields.
type style struct {
	heads                  []string
	before, between, after string // of each field
}

var styles = []style{
	{
		heads: []string{
			`level=info ts=2026-11-22T17:44:3#.######Z caller=server.go:##3 msg=`,
			`level=debug ts=2026-11-22T17:44:3#.######Z caller=queue.go:1## component=scheduler msg=`,
			`level=warn ts=2026-11-22T17:44:3#.######Z caller=retry.go:## msg=`,
			`time="2026-11-22T17:44:3#Z" level=info logger=store msg=`,
		},
		before: " ", between: "=",
	},
	{
		heads: []string{
			`{"level":"info","ts":1763833496.######,"logger":"http","msg":"`,
			`{"severity":"ERROR","timestamp":"2026-11-22T17:44:3#.###Z","service":"checkout","message":"`,
			`{"time":"2026-11-22T17:44:3#.######+01:00","level":"DEBUG","thread":"worker-#","msg":"`,
		},
		before: `","`, between: `":"`,
	},
	{
		heads: []string{
			`I1122 17:44:3#.######       1 controller.go:4##] `,
			`W1122 17:44:3#.######       1 reflector.go:5##] `,
			`10.42.#.##1 - - [22/Nov/2026:17:44:3# +0000] "GET /api/v1/orders/@@@@@@@@ HTTP/1.1" 200 #### "-" `,
			`2026-11-22 17:44:3#,### INFO  [pool-#-thread-##] c.e.shop.OrderService - `,
			"\tat com.example.shop.OrderService.place(OrderService.java:1##) ",
		},
		before: ", ", between: " ",
	},
}

// fields have a value, or prose where it is empty.
var fields = []struct{ key, value string }{
	{"trace_id", "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@"},
	{"span_id", "@@@@@@@@@@@@@@@@"},
	{"request", "@@@@@@@@-@@@@-4@@@-9@@@-@@@@@@@@@@@@"},
	{"duration_ms", "##.###"},
	{"elapsed", "1.######s"},
	{"user", "usr_########"},
	{"order", "ORD-#######"},
	{"path", "/api/v1/customers/######/orders"},
	{"uri", "/static/js/main.@@@@@@@@.js"},
	{"peer", "10.42.#.##:4####"},
	{"bytes", "1####"},
	{"attempt", "#"},
	{"status", "200"},
	{"status", "503"},
	{"pod", "web-65986c78cb-@@@@@"},
	{"image", "registry.example.com/shop/web:sha-@@@@@@@@@@@@"},
	{"offset", "#########"},
	{"partition", "#"},
	{"sql", "SELECT id, total FROM orders WHERE customer_id = ###### ORDER BY id DESC LIMIT 20"},
	{"agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"},
	{"city", "Zürich"},
	{"customer", "Jiří Škoda"},
	{"region", "東京"},
	{"item", "crème brûlée ×#"},
	{"result", "✓ done → shipped"},
	{"mood", "🙂"},
	{"error", ""},
	{"reason", ""},
	{"note", ""},
	{"detail", ""},
	{"cause", ""},
}

var words = []string{
	"accepted", "account", "after", "already", "and", "another", "answer", "at", "attempt", "back-off", "backend", "batch", "because", "before",
	"belongs", "body", "broken", "buffer", "cache", "cancelled", "cannot", "certificate", "changed", "checkpoint", "client", "closed",
	"committed", "config", "connection", "consumer", "controller", "could", "created", "customer", "database", "deadline", "deleted", "delivery",
	"deployment", "does", "done", "downstream", "dropped", "empty", "endpoint", "entry", "error", "event", "exceeded", "expired", "failed",
	"fetched", "file", "finished", "flushed", "for", "found", "from", "full", "gateway", "handler", "has", "header", "healthy", "host", "idle",
	"in", "index", "initialised", "inserted", "invalid", "is", "item", "job", "key", "leader", "lease", "limit", "listening", "loaded", "lock",
	"longer", "lost", "message", "missing", "more", "new", "no", "node", "not", "object", "of", "offset", "old", "on", "opened", "order", "out",
	"over", "page", "partition", "payment", "peer", "pending", "policy", "pool", "processed", "producer", "published", "query", "queue", "quota",
	"rate", "reached", "read", "ready", "rebalanced", "received", "reconciling", "record", "refused", "rejected", "released", "replica", "request",
	"reset", "resource", "response", "retry", "returned", "row", "running", "saved", "schedule", "schema", "segment", "sent", "server", "service",
	"session", "shard", "shipment", "shutting", "skipped", "slow", "snapshot", "started", "state", "still", "stopped", "store", "stream",
	"subscriber", "succeeded", "table", "target", "task", "template", "than", "the", "threshold", "throttled", "timed", "timeout", "to", "token",
	"too", "topic", "transaction", "unexpected", "unknown", "until", "updated", "upstream", "user", "using", "value", "version", "volume",
	"waiting", "was", "watch", "while", "with", "without", "worker", "write", "written", "wrong", "yet", "zone",
}
