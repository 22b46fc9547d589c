package spool

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Whatever syncs fail, limits hit and reads are returned: what Append returned for comes once and in
// order, or is counted.
func TestModel(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 7))
		lost := losses{}
		s := open(t, t.TempDir(), int64(8+r.IntN(64))<<10, lost)
		s.sync = func(f *os.File) error {
			if r.IntN(6) == 0 {
				return unix.EIO
			}
			return nil
		}
		if seed%2 == 1 {
			s.free = func() (int64, int64, error) {
				if r.IntN(20) == 0 {
					return reserveBytes, 1 << 40, nil
				}
				return 1 << 39, 1 << 40, nil
			}
		}
		next, last := uint64(1), uint64(0) // numbers: to be made, acknowledged
		in, out := int64(0), int64(0)      // records, three an entry
		var pending []*Entry               // what could not be appended
		front := map[uint64]int{}          // records that were acknowledged, by number
		add := func() {
			e := entry(next)
			e.Records = 3
			pending = append(pending, e)
			next++
		}
		write := func() {
			n, _ := s.Append(pending...)
			in += 3 * int64(n)
			pending = slices.Clone(pending[n:])
		}
		for range 1000 {
			switch r.IntN(4) {
			case 0, 1:
				for range 1 + r.IntN(6) {
					add()
				}
				first, lend, before := pending[0], s.Empty(), in
				if lend {
					s.Lend(first)
				}
				write()
				switch {
				case !lend || in == before:
				case r.IntN(2) == 0:
					s.Ack(first)
					last = binary.LittleEndian.Uint64(first.Request[0])
					out += 3
				default:
					s.Return(first)
				}
			default:
				e, err := s.Next()
				if err != nil {
					t.Fatal(err)
				}
				if e == nil {
					continue
				}
				n := binary.LittleEndian.Uint64(e.Request[0])
				if want := front[n]; n <= last || e.Done != want {
					t.Fatalf("seed %d: %d comes after %d, %d of its records are done with, want %d", seed, n, last, e.Done, want)
				}
				if r.IntN(3) == 0 {
					k := 1 + r.IntN(2-e.Done/2)
					k = min(k, 2-e.Done)
					s.AckFront(e, k)
					out += int64(k)
					front[n] += k
				}
				if r.IntN(4) == 0 { // the limits may take it meanwhile
					add()
					write()
				}
				if r.IntN(5) == 0 {
					s.Return(e)
					continue
				}
				s.Ack(e)
				last = n
				out += int64(3 - e.Done)
			}
			if size := s.Size(); in != out+lost[Full]+size.Records || size.Bytes < 0 || (size.Records == 0) != (size.Bytes == 0) {
				t.Fatalf("seed %d: %d in, %d out, lost %v, %+v", seed, in, out, lost, size)
			}
		}
		if lost[Damaged] != 0 || s.Size().Damaged != 0 {
			t.Errorf("seed %d: lost %v, %+v", seed, lost, s.Size())
		}
		s.Close()
	}
}
