package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseMicro(t *testing.T) {
	got := parseMicro(`goos: linux
pkg: stint/tail
BenchmarkParseCRI/line=200B-2   	 5877957	       201.8 ns/op	1551.10 MB/s	       0 B/op	       1 allocs/op
BenchmarkBroken-2
PASS
pkg: stint/export/otlp
BenchmarkAppend-2  100  7 ns/op
`)
	want := "[{stint/tail BenchmarkParseCRI/line=200B-2 5877957 map[B/op:0 MB/s:1551.1 allocs/op:1 ns/op:201.8]}" +
		" {stint/export/otlp BenchmarkAppend-2 100 map[ns/op:7]}]"
	if fmt.Sprint(got) != want {
		t.Errorf("parseMicro: %v, want %s", got, want)
	}
}

func TestProcessIsPinnedAndMeasured(t *testing.T) {
	p, err := startProcess(t.TempDir(), "sleep", 0, "/bin/sleep", "60")
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(p.cmd.Process.Pid, &set); err != nil {
		t.Fatal(err)
	}
	if set.Count() != 1 || !set.IsSet(0) {
		t.Errorf("affinity %v, want CPU 0 alone", set)
	}
	if _, _, err := p.cpuTime(); err != nil {
		t.Error(err)
	}
	if rss, peak, err := p.memory(); err != nil || rss > peak {
		t.Errorf("memory() = %d, %d, %v", rss, peak, err)
	}
	if err := p.gone(); err != nil {
		t.Error(err)
	}
}

func TestWrittenIsTheLastWholeLine(t *testing.T) {
	for name, tc := range map[string]struct {
		out  string
		want int64
	}{
		"nothing yet": {"", 0},
		"a half line": {`{"lines":1`, 0},
		"one":         {`{"lines":1}` + "\n", 1},
		"several":     {`{"lines":1}` + "\n" + `{"lines":2}` + "\n" + `{"lin`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := &rig{dir: t.TempDir()}
			if err := os.WriteFile(filepath.Join(r.dir, "gen.out"), []byte(tc.out), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := r.written(); err != nil || got.Lines != tc.want {
				t.Errorf("written() = %d lines, %v, want %d", got.Lines, err, tc.want)
			}
		})
	}
}

func TestMedianTakesEachOnItsOwn(t *testing.T) {
	got := median([]drainRound{
		{CPUSeconds: 3, CompressorCPU: 2}, {CPUSeconds: 9, CompressorCPU: 1}, {CPUSeconds: 4, CompressorCPU: 8},
	})
	if got.CPUSeconds != 4 || got.CompressorCPU != 2 || got.Ratio != 2 {
		t.Errorf("median has %v s, compressor %v s, ratio %v, want 4, 2 and 2", got.CPUSeconds, got.CompressorCPU, got.Ratio)
	}
}
