package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"stint/export/spool"
)

// spoolSizes are bytes of a request: of a scrape of a node, and of a full batch.
var spoolSizes = []int{128 << 10, 4 << 20}

var spoolWriters = []int{1, 4, 16}

// spoolBytes is what each measurement writes at most, and spoolRequests how many requests.
const (
	spoolBytes    = 256 << 20
	spoolRequests = 400
)

// spoolSegment is how large the spool's files are: those of the bare disk are the same.
const spoolSegment = 8 << 20

// spoolResult is how fast requests of one size come to the disk, each synced before the next of
// its writer. MB are 10^6 bytes.
type spoolResult struct {
	RequestBytes int           `json:"request_bytes"`
	DiskMB       float64       `json:"disk_mb_per_second"` // write and fdatasync alone, by one writer; median
	Writers      []spoolFigure `json:"writers"`
	Rounds       []spoolRound  `json:"rounds"`
}

// spoolFigure is the median of all rounds.
type spoolFigure struct {
	Writers     int     `json:"writers"`
	MBPerSecond float64 `json:"mb_per_second"`
	Ratio       float64 `json:"ratio"` // to the bare disk in the same round
}

// spoolRound is one after the other: the disk, the spool with each number of writers, the disk.
type spoolRound struct {
	DiskMB  [2]float64 `json:"disk_mb_per_second"`
	SpoolMB []float64  `json:"spool_mb_per_second"` // in the order of writers
}

func (r spoolRound) disk() float64 { return (r.DiskMB[0] + r.DiskMB[1]) / 2 }

// spool measures export/spool below b.dir, in this process.
func (b *bench) spool(ctx context.Context, rounds int) (all []spoolResult, err error) {
	for _, size := range spoolSizes {
		request := make([]byte, size)
		rand.Read(request) // file systems compress zeros
		res := spoolResult{RequestBytes: size}
		for range rounds {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			var r spoolRound
			if r.DiskMB[0], err = b.bareDisk(request); err != nil {
				return nil, err
			}
			for _, writers := range spoolWriters {
				mb, err := b.spoolAppend(request, writers)
				if err != nil {
					return nil, err
				}
				r.SpoolMB = append(r.SpoolMB, mb)
			}
			if r.DiskMB[1], err = b.bareDisk(request); err != nil {
				return nil, err
			}
			res.Rounds = append(res.Rounds, r)
			fmt.Fprintf(os.Stderr, "spool, requests of %d bytes: disk %.0f MB/s, %v writers %.0f MB/s\n", size, r.disk(), spoolWriters, r.SpoolMB)
		}
		middle := func(of func(spoolRound) float64) float64 {
			var values []float64
			for _, r := range res.Rounds {
				values = append(values, of(r))
			}
			slices.Sort(values)
			return values[len(values)/2]
		}
		res.DiskMB = middle(spoolRound.disk)
		for i, writers := range spoolWriters {
			res.Writers = append(res.Writers, spoolFigure{
				Writers:     writers,
				MBPerSecond: middle(func(r spoolRound) float64 { return r.SpoolMB[i] }),
				Ratio:       middle(func(r spoolRound) float64 { return r.SpoolMB[i] / r.disk() }),
			})
		}
		all = append(all, res)
	}
	return all, nil
}

func spoolCount(request []byte) int { return min(spoolRequests, spoolBytes/len(request)) }

// bareDisk is MB/s of one writer that does no more than the spool must: it writes to files of the same
// size, and syncs.
func (b *bench) bareDisk(request []byte) (mb float64, err error) {
	dir, err := os.MkdirTemp(b.dir, "disk-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	n := spoolCount(request)
	start := time.Now()
	for i := 0; i < n; {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return 0, err
		}
		for at := 0; at < spoolSegment && i < n && err == nil; i++ {
			_, err = f.Write(request)
			if at += len(request); err == nil {
				err = unix.Fdatasync(int(f.Fd()))
			}
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return 0, err
		}
	}
	return float64(n*len(request)) / 1e6 / time.Since(start).Seconds(), nil
}

// spoolAppend is MB/s of so many writers to one spool.
func (b *bench) spoolAppend(request []byte, writers int) (mb float64, err error) {
	dir, err := os.MkdirTemp(b.dir, "spool-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	var dropped atomic.Int64
	s, err := spool.Open(spool.Options{
		Dir: dir, Budget: spool.NewBudget(4 * spoolBytes), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Dropped: func(_ string, n int64) { dropped.Add(n) },
	})
	if err != nil {
		return 0, err
	}
	n := spoolCount(request)
	var next atomic.Int64
	errs := make([]error, writers)
	var wg sync.WaitGroup
	start := time.Now()
	for w := range writers {
		wg.Go(func() {
			for next.Add(1) <= int64(n) && errs[w] == nil {
				_, errs[w] = s.Append(&spool.Entry{Records: 1, Time: time.Now(), Request: [][]byte{request}})
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	if err := errors.Join(append(errs, s.Close())...); err != nil {
		return 0, err
	}
	if size := s.Size(); size.Records != int64(n) || dropped.Load() != 0 {
		return 0, fmt.Errorf("spool: of %d requests it holds %d, %d were dropped; give -dir more room", n, size.Records, dropped.Load())
	}
	return float64(n*len(request)) / 1e6 / took.Seconds(), nil
}
