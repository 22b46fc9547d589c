package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// microResult is one line of go test -bench.
type microResult struct {
	Package string             `json:"package"`
	Name    string             `json:"name"`
	Runs    int64              `json:"runs"`
	Values  map[string]float64 `json:"values"` // by unit: ns/op, MB/s, B/op, allocs/op
}

// micro runs the micro-benchmarks of the root module. Its figures count even
// when a package fails; the error tells.
func (b *bench) micro(ctx context.Context) ([]microResult, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "xxx", "-bench", ".", "-benchmem", "./...")
	cmd.Dir = b.repo
	var out bytes.Buffer
	cmd.Stdout = io.MultiWriter(&out, os.Stderr)
	cmd.Stderr = os.Stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("go test -bench: %w", err)
	}
	return parseMicro(out.String()), err
}

func parseMicro(text string) []microResult {
	var all []microResult
	pkg := ""
	for line := range strings.Lines(text) {
		if p, ok := strings.CutPrefix(line, "pkg: "); ok {
			pkg = strings.TrimSpace(p)
		}
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		runs, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			continue
		}
		res := microResult{Package: pkg, Name: fields[0], Runs: runs, Values: map[string]float64{}}
		for i := 2; i+1 < len(fields); i += 2 {
			if value, err := strconv.ParseFloat(fields[i], 64); err == nil {
				res.Values[fields[i+1]] = value
			}
		}
		all = append(all, res)
	}
	return all
}
