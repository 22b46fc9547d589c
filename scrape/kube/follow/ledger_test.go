package follow

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestLedger: the frontier is where everything before it is acknowledged, in whatever order that
// happens; against a model that looks at all of it.
func TestLedger(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		var l Ledger[int]
		type record struct {
			mark uint64
			done bool
			pos  Position // after it
		}
		var all []record
		start := Position{Version: "0"}
		l.Reset(start)
		notes := 0
		for step := range 200 {
			switch rnd.IntN(5) {
			case 4: // as if it had not been
				mark := l.Open(step)
				if l.Forget(mark); len(all) > 0 && rnd.IntN(2) == 0 {
					l.Forget(all[0].mark + uint64(len(all))) // there is none
				}
			case 0, 1:
				r := record{mark: l.Open(step)}
				if len(all) > 0 && r.mark != all[len(all)-1].mark+1 {
					t.Fatalf("mark %d after %d", r.mark, all[len(all)-1].mark)
				}
				all = append(all, r)
			case 2:
				p := Position{Version: string(rune('a'+step%26)) + string(rune('a'+step/26))}
				l.Pass(p)
				if l.Last() != p {
					t.Fatalf("last is %v, want %v", l.Last(), p)
				}
				if len(all) > 0 {
					all[len(all)-1].pos = p
				} else {
					start = p
				}
			case 3:
				if len(all) == 0 {
					continue
				}
				from := rnd.IntN(len(all))
				n := rnd.IntN(len(all)-from) + 1
				fresh := 0
				for i := from; i < from+n; i++ {
					if !all[i].done {
						fresh++
					}
					all[i].done = true
				}
				l.Done(all[from].mark, n, func(int) { fresh--; notes++ })
				if fresh != 0 {
					t.Fatalf("%d notes too few", fresh)
				}
			}
			want, left := start, 0
			for i, r := range all {
				if !r.done {
					left = len(all) - i
					break
				}
				if r.pos != (Position{}) {
					want = r.pos
				}
			}
			if got := l.Frontier(); got != want || l.Len() != left {
				t.Fatalf("seed %d: frontier %v and %d open, want %v and %d", seed, got, l.Len(), want, left)
			}
		}
		l.Reset(Position{Version: "z"})
		for _, r := range all {
			l.Done(r.mark, 1, func(int) { t.Fatal("a note of before the reset") })
		}
		if l.Frontier().Version != "z" {
			t.Fatal("records of before a reset moved the frontier")
		}
	}
}

func TestKnown(t *testing.T) {
	k := newKnown(nil)
	k.begin()
	ids := []Identity{
		{UID: "b9fd5b2c-60d7-4c95-905b-40c54dd2369e", Namespace: "x", Name: "a"},
		{UID: "not a uid", Namespace: "x", Name: "b"},
		{UID: "", Namespace: "y", Name: "c"},
	}
	for _, id := range ids {
		if k.add(&id) {
			t.Errorf("%v is old", id)
		}
	}
	k.begin()
	k.add(&ids[0])
	k.change(Modified, &ids[2])
	var gone []Identity
	if err := k.vanished(func(id *Identity) error { gone = append(gone, *id); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(gone) != 1 || gone[0] != (Identity{Namespace: "x", Name: "b"}) || len(k.objects) != 2 {
		t.Errorf("%v, %d are left", gone, len(k.objects))
	}
	k.begin()
	if err := k.vanished(func(id *Identity) error { gone = append(gone, *id); return nil }); err != nil || len(k.objects) != 0 {
		t.Fatal(err)
	}
	if u := gone[1].UID + gone[2].UID; u != ids[0].UID { // that of the empty uid is empty
		t.Errorf("%q", u)
	}
}

// TestKnownAt: what there was at a position, after whatever came later; against copies of it. What is read from a
// checkpoint is what was there.
func TestKnownAt(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		k := newKnown(nil)
		there, seen := map[string]bool{}, map[string]bool{} // by name, and those on the pages of the list
		listing := false
		type moment struct {
			at              Position
			there, unlisted []string
		}
		var all []moment
		id := func() *Identity {
			n := rnd.IntN(12)
			return &Identity{UID: fakeUID(n), Namespace: string(rune('x' + n%2)), Name: string(rune('a' + n))}
		}
		pass := func() {
			m := moment{at: Position{Listing: listing, seq: k.pass()}}
			for name := range there {
				if listing && !seen[name] {
					m.unlisted = append(m.unlisted, name)
				} else {
					m.there = append(m.there, name)
				}
			}
			all = append(all, m)
		}
		pass()
		next := 0
		for range 200 {
			switch rnd.IntN(4) {
			case 0:
				if !listing {
					listing, seen = true, map[string]bool{}
					k.begin()
				} else {
					listing = false
					if err := k.vanished(func(id *Identity) error {
						if !there[id.Name] || seen[id.Name] {
							t.Fatalf("%s vanished", id.Name)
						}
						delete(there, id.Name)
						return nil
					}); err != nil {
						t.Fatal(err)
					}
				}
				for range rnd.IntN(2) {
					pass()
				}
				if listing { // not before its first page
					x := id()
					k.add(x)
					there[x.Name], seen[x.Name] = true, true
				}
			case 1:
				x := id()
				if old := k.add(x); old != there[x.Name] {
					t.Fatalf("%s was there: %v", x.Name, old)
				}
				there[x.Name], seen[x.Name] = true, true
			case 2:
				if x := id(); !listing {
					k.change(Deleted, x)
					delete(there, x.Name)
				}
			case 3:
				next += rnd.IntN(len(all) - next)
				m := all[next]
				got := k.at(m.at)
				if got == nil {
					t.Fatalf("seed %d: nothing is known at %d", seed, m.at.seq)
				}
				if rnd.IntN(2) == 0 {
					got = newKnown(got).at(Position{Listing: m.at.Listing})
				}
				for _, later := range all[next:] { // all that was there since is told
					for _, name := range slices.Concat(later.there, later.unlisted) {
						if !slices.Contains(slices.Concat(namesOf(got.There), namesOf(got.Unlisted), namesOf(got.Later)), name) {
							t.Fatalf("seed %d: at %d nothing says that %s came", seed, m.at.seq, name)
						}
					}
				}
				if there, unlisted := namesOf(got.There), namesOf(got.Unlisted); !sameNames(there, m.there) || !sameNames(unlisted, m.unlisted) {
					t.Fatalf("seed %d: at %d %v and %v, want %v and %v", seed, m.at.seq, there, unlisted, m.there, m.unlisted)
				}
			}
			pass()
		}
	}
	// What is not known is not made up.
	k := newKnown(nil)
	if k.at(Position{}) != nil {
		t.Error("before anything was read")
	}
	k.pass()
	k.add(&Identity{UID: fakeUID(1)})
	for i := range maxKept {
		k.add(&Identity{UID: fakeUID(i + 2)})
	}
	first, second := Position{seq: 1}, Position{seq: k.pass()}
	if k.at(first) != nil || k.at(second) != nil {
		t.Error("of very many")
	}
	k.change(Deleted, &Identity{UID: fakeUID(1)})
	third := Position{seq: k.pass()}
	if k.at(second) != nil {
		t.Error("when they were very many")
	}
	if o := k.at(third); o == nil || len(o.There[""]) != maxKept {
		t.Error("of fewer again")
	}
	k.learned("7")
	unknown := Position{seq: k.pass()}
	k.reached("6")
	k.pass()
	k.reached("7")
	reached := Position{seq: k.pass()}
	if k.at(unknown) != nil {
		t.Error("of before what was learned")
	}
	if k.at(reached) == nil {
		t.Error("of when what was learned is reached")
	}
}

func namesOf(n Names) (all []string) {
	for _, m := range n {
		all = slices.AppendSeq(all, maps.Values(m))
	}
	return all
}

func sameNames(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func TestNewer(t *testing.T) {
	for _, tc := range []struct {
		a, b          string
		newer, future bool
	}{
		{"10", "9", true, true}, {"9", "10", false, false}, {"9", "9", false, false}, {"9", "", true, false},
		{"x", "9", true, false}, {"9", "x", true, false}, {"340282366920938463463374607431768211456", "9", true, true},
	} {
		if got := Newer(tc.a, tc.b); got != tc.newer {
			t.Errorf("Newer(%q, %q) = %v", tc.a, tc.b, got)
		}
		if got := future(tc.a, tc.b); got != tc.future {
			t.Errorf("future(%q, %q) = %v", tc.a, tc.b, got)
		}
	}
}

// BenchmarkKnown is what a watch remembers of the pods of a large cluster.
func BenchmarkKnown(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		k := newKnown(nil)
		for i := range 150_000 {
			name := "checkout-6c9d5b7f4-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26))
			k.add(&Identity{UID: fakeUID(i), Namespace: "production", Name: name})
		}
	}
}

func fakeUID(i int) string {
	const hex = "0123456789abcdef"
	b := []byte("00000000-60d7-4c95-905b-40c54dd2369e")
	for j := range 8 {
		b[j] = hex[i>>(4*j)&15]
	}
	return string(b)
}
