package main

import (
	"fmt"
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
