package spool

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var rounds = flag.Int("rounds", 60, "how often TestKill kills")

const (
	killWriters = 4
	killRecords = 3       // of an entry
	killBytes   = 2 << 20 // segments of 256 KiB
	killWaits   = 1000    // entries that may wait: no more than fit, since nothing is to be dropped
)

// killed is what a process that was killed had said of one of its writers.
type killed struct {
	written uint32 // entries
	head    uint32 // the oldest that is not acknowledged
	done    int    // of its records
}

// Killed at any moment, again and again, with several writers and entries that are acknowledged record by
// record: every entry that Append returned for comes, each writer's in order, and nothing that was said to be
// acknowledged comes again.
func TestKill(t *testing.T) {
	if dir := os.Getenv("STINT_SPOOL_CHILD"); dir != "" {
		killChild(t, dir)
		return
	}
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(3, 4))
	all := map[uint32]*killed{} // by writer, which each process has of its own
	// first: what was acknowledged last, before the kill, may not have been said.
	next := func(id uint64, done int, first bool) {
		t.Helper()
		k, n := all[uint32(id>>32)], uint32(id)
		if k == nil {
			k = &killed{}
			all[uint32(id>>32)] = k
		}
		switch {
		case n == k.head && (done == k.done || first && done == k.done+1):
		case n == k.head+1 && done == 0 && k.done == killRecords-1 && first:
		default:
			t.Fatalf("entry %x comes with %d records done with, want %x with %d", id, done, k.head, k.done)
		}
		k.head, k.done = n, done
	}
	acked := 0
	for round := range *rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "STINT_SPOOL_CHILD="+dir, fmt.Sprint("STINT_SPOOL_ROUND=", round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := 1 + r.IntN(1000)
		first := map[uint32]bool{}
		for in := bufio.NewScanner(out); in.Scan(); {
			var what string
			var id uint64
			var done int
			if _, err := fmt.Sscan(in.Text(), &what, &id, &done); err != nil {
				if strings.Contains(in.Text(), "FAIL") || strings.Contains(in.Text(), "panic") {
					t.Errorf("round %d: %s", round, in.Text())
				}
				continue
			}
			w := uint32(id >> 32)
			switch what {
			case "written":
				if all[w] == nil {
					all[w] = &killed{}
				}
				all[w].written = max(all[w].written, uint32(id)+1)
			case "next":
				next(id, done, !first[w])
				first[w] = true
			case "acked":
				if acked++; done == killRecords {
					all[w].head, all[w].done = uint32(id)+1, 0
				} else {
					all[w].done = done
				}
			}
			if lines--; lines == 0 {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
	}
	lost, first := losses{}, map[uint32]bool{}
	s := open(t, dir, killBytes, lost)
	for {
		e, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e == nil {
			break
		}
		id := killNumber(t, e)
		w := uint32(id >> 32)
		next(id, e.Done, !first[w])
		first[w] = true
		all[w].head, all[w].done = uint32(id)+1, 0
		s.Ack(e)
	}
	written := uint32(0)
	for w, k := range all {
		written += k.written
		if k.head < k.written && (first[w] || k.head+1 < k.written || k.done < killRecords-1) {
			t.Errorf("of writer %x %d entries were written, the last that came is %d", w, k.written, k.head)
		}
	}
	if len(lost) > 0 || s.Size() != (Size{}) {
		t.Errorf("lost %v, empty it holds %+v", lost, s.Size())
	}
	t.Logf("%d entries of %d writers written, %d records acknowledged", written, len(all), acked)
}

func killEntry(id uint64) *Entry {
	e := entry(id)
	e.Records = killRecords
	return e
}

func killNumber(t testing.TB, e *Entry) uint64 {
	t.Helper()
	id := binary.LittleEndian.Uint64(e.Request[0])
	if want := killEntry(id); !bytes.Equal(e.Request[0], bytes.Join(want.Request, nil)) || e.Records != want.Records {
		t.Fatalf("entry %x is not what was written: %+v", id, e)
	}
	return id
}

// killChild writes and reads until it is killed.
func killChild(t *testing.T, dir string) {
	var round uint64
	fmt.Sscan(os.Getenv("STINT_SPOOL_ROUND"), &round)
	s := open(t, dir, killBytes, losses{})
	say := func(what string, id uint64, done int) { fmt.Fprintln(os.Stdout, what, id, done) } // one write(2)
	waits, came := make(chan struct{}, killWaits), make(chan struct{}, 1)
	for range min(s.Size().Records/killRecords, killWaits) {
		waits <- struct{}{}
	}
	for w := range uint64(killWriters) {
		go func() {
			for id := (round*killWriters + w) << 32; ; id++ {
				waits <- struct{}{}
				if n, err := s.Append(killEntry(id)); n != 1 || err != nil {
					panic(fmt.Sprint("Append: ", n, err))
				}
				say("written", id, 0)
				select {
				case came <- struct{}{}:
				default:
				}
			}
		}()
	}
	r := rand.New(rand.NewPCG(round, 5))
	for {
		e, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e == nil {
			<-came
			continue
		}
		id := killNumber(t, e)
		say("next", id, e.Done)
		for done := e.Done + 1; done < killRecords; done++ {
			s.AckFront(e, 1)
			say("acked", id, done)
		}
		if r.IntN(8) == 0 {
			s.Return(e)
			continue
		}
		s.Ack(e)
		say("acked", id, killRecords)
		select {
		case <-waits:
		default: // it was there before this process
		}
	}
}
