package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

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

func TestMiddle(t *testing.T) {
	for want, values := range map[float64][]float64{3: {9, 3, 1}, 2: {2}, 5: {5, 1, 2, 7, 6}} {
		if got := middle(values); got != want {
			t.Errorf("middle(%v) = %v, want %v", values, got, want)
		}
	}
}

func TestRunTimeGrowsWithWork(t *testing.T) {
	p, err := startProcess(t.TempDir(), "busy", -1, "/bin/sh", "-c", "while :; do :; done")
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	var last time.Duration
	err = poll(t.Context(), 10*time.Millisecond, 10*time.Second, func() (bool, error) {
		now, err := p.runTime()
		if err != nil && last == 0 {
			return false, nil // it has not run yet
		}
		if now < last {
			t.Errorf("runTime() = %v after %v", now, last)
		}
		last = now
		return now > 50*time.Millisecond, err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestKubeletReplaysManyPods: by TLS, with the certificate that it tells, pods and statistics that belong together and are of now.
func TestKubeletReplaysManyPods(t *testing.T) {
	k, err := newKubelet(t.TempDir(), "../../scrape/kubelet/testdata")
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	pem, err := os.ReadFile(k.caFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	ask := func(path string, into any) {
		t.Helper()
		resp, err := client.Get(k.endpoint + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	var pods struct {
		Items []struct {
			Metadata struct{ UID string }
			Status   struct {
				ContainerStatuses []struct{ ContainerID string }
			}
		}
	}
	var stats struct {
		Pods []struct {
			PodRef     struct{ UID string }
			Containers []struct {
				CPU struct {
					Time time.Time
				}
			}
			Volume []struct{ Name string }
		}
	}
	begin := time.Now().Truncate(time.Second)
	ask("/pods", &pods)
	ask("/stats/summary", &stats)
	if len(pods.Items) != podCount || len(stats.Pods) != podCount {
		t.Fatalf("%d pods, %d with statistics, want %d", len(pods.Items), len(stats.Pods), podCount)
	}
	for i, p := range stats.Pods {
		if p.PodRef.UID != podUID(i) || pods.Items[i].Metadata.UID != podUID(i) {
			t.Errorf("pod %d is %s here and %s there", i, p.PodRef.UID, pods.Items[i].Metadata.UID)
		}
		states := pods.Items[i].Status.ContainerStatuses
		if len(p.Containers) != containersOfPod || len(p.Volume) != volumesOfPod || len(states) != containersOfPod {
			t.Errorf("pod %d has %d containers, %d volumes, %d states", i, len(p.Containers), len(p.Volume), len(states))
			continue
		}
		if states[1].ContainerID != "containerd://"+containerID(i, 1) || p.Containers[0].CPU.Time.Before(begin) {
			t.Errorf("pod %d: container %s, measured at %v", i, states[1].ContainerID, p.Containers[0].CPU.Time)
		}
	}
}
