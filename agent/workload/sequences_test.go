package workload

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
)

func appendMark(dst []byte, writer string, n uint64) []byte {
	dst = append(dst, "w="...)
	dst = append(dst, writer...)
	dst = append(dst, " seq="...)
	return strconv.AppendUint(dst, n, 10)
}

func TestSequences(t *testing.T) {
	for name, tc := range map[string]struct {
		numbers []uint64 // of writer a
		bodies  []string // after them
		want    Totals
		gaps    string
	}{
		"nothing":                {want: Totals{}, gaps: "[]"},
		"in order":               {numbers: []uint64{1, 2, 3}, want: Totals{Records: 3, Writers: 1}, gaps: "[]"},
		"one repeated":           {numbers: []uint64{1, 2, 2, 3}, want: Totals{Records: 4, Repeated: 1, Writers: 1}, gaps: "[]"},
		"start repeated":         {numbers: []uint64{1, 2, 3, 1, 2, 3, 4}, want: Totals{Records: 7, Repeated: 3, Writers: 1}, gaps: "[]"},
		"first ones missing":     {numbers: []uint64{4, 5}, want: Totals{Records: 2, Missing: 3, Writers: 1}, gaps: "[{a 1 3}]"},
		"gaps":                   {numbers: []uint64{1, 3, 4, 8}, want: Totals{Records: 4, Missing: 4, Writers: 1}, gaps: "[{a 2 2} {a 5 7}]"},
		"late fills a gap":       {numbers: []uint64{1, 3, 2}, want: Totals{Records: 3, OutOfOrder: 1, Writers: 1}, gaps: "[]"},
		"late grows left range":  {numbers: []uint64{1, 5, 2}, want: Totals{Records: 3, OutOfOrder: 1, Missing: 2, Writers: 1}, gaps: "[{a 3 4}]"},
		"late grows right range": {numbers: []uint64{1, 5, 4}, want: Totals{Records: 3, OutOfOrder: 1, Missing: 2, Writers: 1}, gaps: "[{a 2 3}]"},
		"late in a gap's middle": {numbers: []uint64{1, 5, 3}, want: Totals{Records: 3, OutOfOrder: 1, Missing: 2, Writers: 1}, gaps: "[{a 2 2} {a 4 4}]"},
		"late before the first":  {numbers: []uint64{5, 1}, want: Totals{Records: 2, OutOfOrder: 1, Missing: 3, Writers: 1}, gaps: "[{a 2 4}]"},
		"late, then repeated":    {numbers: []uint64{5, 1, 1, 5}, want: Totals{Records: 4, OutOfOrder: 1, Repeated: 2, Missing: 3, Writers: 1}, gaps: "[{a 2 4}]"},
		"two writers": {
			numbers: []uint64{1, 2},
			bodies:  []string{"w=b seq=2 text", "w=b seq=1", "w=c seq=1 "},
			want:    Totals{Records: 5, OutOfOrder: 1, Writers: 3}, gaps: "[]",
		},
		"foreign": {
			bodies: []string{
				"", "w", "w=", "w= seq=1", "w=a", "w=a seq", "w=a seq=", "w=a seq= 1", "w=a seq=0", "w=a seq=x1", "w=a seq=1x",
				"w=a seq=-1", "w=a  seq=1", " w=a seq=1", "level=info w=a seq=1", "w=a seq=1234567890123456789", "w=a\tseq=1",
			},
			want: Totals{Foreign: 17}, gaps: "[]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s Sequences
			for _, n := range tc.numbers {
				s.Add(appendMark(nil, "a", n))
			}
			for _, body := range tc.bodies {
				s.Add([]byte(body))
			}
			if got := s.Totals(); got != tc.want {
				t.Errorf("Totals() = %+v, want %+v", got, tc.want)
			}
			if got := fmt.Sprint(s.Gaps(10)); got != tc.gaps {
				t.Errorf("Gaps(10) = %s, want %s", got, tc.gaps)
			}
		})
	}
}

// TestSequencesAgainstModel compares with a plain set on random input.
func TestSequencesAgainstModel(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var s Sequences
		var want Totals
		have, highest := map[uint64]bool{}, uint64(0)
		for range 500 {
			n := 1 + rng.Uint64N(300)
			s.Add(appendMark(nil, "a", n))
			want.Records++
			switch {
			case have[n]:
				want.Repeated++
			case n < highest:
				want.OutOfOrder++
			}
			have[n], highest = true, max(highest, n)
		}
		want.Missing, want.Writers = int64(highest)-int64(len(have)), 1
		if got := s.Totals(); got != want {
			t.Fatalf("seed %d: Totals() = %+v, want %+v", seed, got, want)
		}
		missing := int64(0)
		for _, g := range s.Gaps(1000) {
			missing += int64(g.Last - g.First + 1)
		}
		if missing != want.Missing {
			t.Fatalf("seed %d: gaps have %d numbers, want %d", seed, missing, want.Missing)
		}
	}
}

func TestSequencesAreBounded(t *testing.T) {
	var s Sequences
	for n := range uint64(3 * maxRanges) {
		s.Add(appendMark(nil, "a", 2*n+2)) // every odd number is missing
	}
	if got := len(s.writers["a"].ranges); got != maxRanges {
		t.Errorf("%d ranges, want %d", got, maxRanges)
	}
	if got := s.Totals(); got.Missing != 3*maxRanges || got.Records != 3*maxRanges {
		t.Errorf("Totals() = %+v, want %d records and as many missing", got, 3*maxRanges)
	}
	s.Add(appendMark(nil, "a", 3)) // its gap is forgotten: the safe side is "repeated"
	if got := s.Totals(); got.Repeated != 1 {
		t.Errorf("Totals() = %+v, want 1 repeated", got)
	}

	s = Sequences{}
	for i := range maxWriters + 5 {
		s.Add(appendMark(nil, strconv.Itoa(i), 1))
	}
	if got := s.Totals(); got.Writers != maxWriters || got.Foreign != 5 {
		t.Errorf("Totals() = %+v, want %d writers and 5 foreign", got, maxWriters)
	}
}

func TestSequencesAllocateNothing(t *testing.T) {
	var s Sequences
	body, n := make([]byte, 0, 64), uint64(0)
	s.Add(appendMark(body, "c017-stdout", 1))
	if got := testing.AllocsPerRun(1000, func() {
		n++
		s.Add(appendMark(body, "c017-stdout", n))
		s.Add([]byte("not ours"))
	}); got != 0 {
		t.Errorf("Add allocates %v times", got)
	}
}

func TestSequencesInParallel(t *testing.T) {
	var s Sequences
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range uint64(1000) {
				s.Add(appendMark(nil, strconv.Itoa(i), n+1))
				s.Totals()
			}
		})
	}
	all.Wait()
	if got, want := s.Totals(), (Totals{Records: 4000, Writers: 4}); got != want {
		t.Errorf("Totals() = %+v, want %+v", got, want)
	}
}
