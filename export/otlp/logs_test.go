package otlp

import (
	"bytes"
	"math/rand/v2"
	"testing"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
)

// TestLogRecordLen: Len is what a record takes, whatever it holds.
func TestLogRecordLen(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		l, _ := randLog(r)
		if r.IntN(2) == 0 {
			v, _ := randValue(r, 3)
			l.BodyValue = AppendValue(nil, v)
		}
		if got := len(AppendLogRecord(nil, l)); got != l.Len() {
			t.Fatalf("Len = %d, the record takes %d: %+v", l.Len(), got, l)
		}
	}
}

// TestLogRecordBodyValue: a structured body takes the place of the text.
func TestLogRecordBodyValue(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		l, p := randLog(r)
		v, want := randValue(r, 3)
		if l.BodyValue = AppendValue(nil, v); len(l.BodyValue) != 0 {
			p.Body = want
		}
		var got logspb.ScopeLogs
		if err := proto.Unmarshal(AppendLogRecord(nil, l), &got); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, p, got.LogRecords[0])
	}
}

// TestOpenLen: a message that is encoded piece by piece is that which is encoded at once,
// however many bytes its lengths take.
func TestOpenLen(t *testing.T) {
	for _, n := range []int{0, 1, 120, 127, 128, 16380, 16384, 1 << 21} {
		text := bytes.Repeat([]byte("x"), n)
		got, outer := OpenLen([]byte("before"), AttrsOfLogRecord)
		got = appendBytes(got, 1, []byte("key"))
		got, inner := OpenLen(got, 2)
		got = CloseLen(CloseLen(appendBytes(got, 1, text), inner), outer)
		if want := AppendAttrs([]byte("before"), AttrsOfLogRecord, []KeyValue{Attr("key", string(text))}); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: the attribute takes %d, want %d", n, len(got), len(want))
		}
	}
}
