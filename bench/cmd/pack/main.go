// Command pack compresses a file in messages of 4 MiB as stint-agent compresses its requests,
// into nothing, and prints what that cost as one line of JSON.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

const messageBytes = 4 << 20

// packed is what pack prints.
type packed struct {
	Bytes      int64   `json:"bytes"`
	Packed     int64   `json:"packed_bytes"`
	CPUSeconds float64 `json:"cpu_seconds"` // of the compressor alone, without reading the file
}

func main() {
	compression := flag.String("compression", "gzip", "gzip or zstd")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "pack: give one file")
		os.Exit(2)
	}
	res, err := run(flag.Arg(0), *compression)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(res)
}

func run(path, compression string) (packed, error) {
	var res packed
	var z interface {
		io.WriteCloser
		Reset(io.Writer)
	}
	var err error
	switch compression { // with the options of export/compress.go
	case "gzip":
		z, err = gzip.NewWriterLevel(nil, 1)
	case "zstd":
		z, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(512<<10), zstd.WithLowerEncoderMem(true))
	default:
		err = fmt.Errorf("no compression %q", compression)
	}
	if err != nil {
		return res, err
	}
	file, err := os.Open(path)
	if err != nil {
		return res, err
	}
	defer file.Close()
	message := make([]byte, messageBytes)
	var out counter
	var used time.Duration
	for {
		n, err := io.ReadFull(file, message)
		if n == 0 && err == io.EOF {
			res.Packed, res.CPUSeconds = out.n, used.Seconds()
			return res, nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return res, err
		}
		before, err := cpuTime()
		if err != nil {
			return res, err
		}
		z.Reset(&out)
		if _, err := z.Write(message[:n]); err != nil {
			return res, err
		}
		if err := z.Close(); err != nil {
			return res, err
		}
		after, err := cpuTime()
		if err != nil {
			return res, err
		}
		used += after - before
		res.Bytes += int64(n)
	}
}

// cpuTime is what the process has used.
func cpuTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("CPU time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// counter counts what is written.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
