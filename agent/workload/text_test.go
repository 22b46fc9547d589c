package workload

import (
	"bytes"
	"compress/gzip"
	"math/rand/v2"
	"slices"
	"testing"
	"unicode/utf8"
)

// TestBodies checks what the rest of the project relies on: lengths, UTF-8,
// one line, and a gzip ratio like that of real logs.
func TestBodies(t *testing.T) {
	w, err := New(Config{Root: "unused", Containers: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	const records = 20000
	var lengths []int
	var log, body []byte
	long, huge, other := 0, 0, 0
	for range records {
		// As appendRecord picks, but without header and pieces.
		s, from := &w.containers[0].streams[0], w.texts.short
		switch share := w.rng.Uint64() % 1000; {
		case share < 1:
			from = w.texts.huge
			huge++
		case share < 11:
			from = w.texts.long
			long++
		}
		body = w.appendBody(body[:0], s, from)
		if !utf8.Valid(body) || bytes.ContainsAny(body, "\n\r") {
			t.Fatalf("body %q is not one line of UTF-8", body)
		}
		if !isASCII(body) {
			other++
		}
		lengths = append(lengths, len(body))
		if len(log) < 3<<20 {
			log = append(append(log, body...), '\n')
		}
	}
	slices.Sort(lengths)
	if n := lengths[records/2]; n < 135 || n > 165 {
		t.Errorf("median length %d, want about 150", n)
	}
	if n := lengths[records*95/100]; n < 450 || n > 550 {
		t.Errorf("95 %% of lengths are up to %d, want about 500", n)
	}
	if n := lengths[records*995/1000]; n < 4000 || n > 4200 {
		t.Errorf("length at 99.5 %%: %d, want about 4096", n)
	}
	if n := lengths[records-1]; n < 40000 || n > 42000 {
		t.Errorf("longest %d, want about 40960", n)
	}
	if other < records/100 {
		t.Errorf("%d of %d bodies have characters outside ASCII", other, records)
	}

	var out bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	zip.Write(log)
	zip.Close()
	if ratio := float64(len(log)) / float64(out.Len()); ratio < 2 || ratio > 4 {
		t.Errorf("gzip makes it %.1f times smaller, want 2 to 4", ratio)
	} else {
		t.Logf("gzip %.2f", ratio)
	}
}

func isASCII(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c >= utf8.RuneSelf })
}

func TestTextsAreRepeatable(t *testing.T) {
	a, b := newTexts(rand.New(rand.NewPCG(7, 0))), newTexts(rand.New(rand.NewPCG(7, 0)))
	for i := range a.short {
		if !bytes.Equal(a.short[i].bytes, b.short[i].bytes) {
			t.Fatalf("text %d differs with the same seed", i)
		}
	}
}

func TestHoles(t *testing.T) {
	text := newHoles([]byte("id=@@@@ n=## " + "@@@@@@@@@@@@@@@@@@@@"))
	rng := rand.NewPCG(1, 2)
	for range 100 {
		got := text.appendTo([]byte("x"), rng)
		if bytes.ContainsAny(got, "@#") || !bytes.HasPrefix(got, []byte("xid=")) || string(got[8:11]) != " n=" {
			t.Fatalf("filled text is %q", got)
		}
	}
}
