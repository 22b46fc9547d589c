package process

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stint/agent/config"
)

// sleeper is a Program that does nothing.
type sleeper struct{ text string }

func (s *sleeper) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (s *sleeper) NotAlive() []string            { return nil }

// TestNotify: systemd is told what sd_notify(3) says, in its order: ready, that a reload begins and has ended, that it
// is alive, and that it stops.
func TestNotify(t *testing.T) {
	dir := t.TempDir()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	t.Setenv("WATCHDOG_USEC", "600000")
	told := func(want string) {
		t.Helper()
		buf := make([]byte, 1000)
		for {
			if err := l.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			n, err := l.Read(buf)
			if err != nil {
				t.Fatalf("%s is not told: %v", want, err)
			}
			got := string(buf[:n])
			if strings.HasPrefix(got, want) {
				if want == "RELOADING=1" && !strings.Contains(got, "\nMONOTONIC_USEC=") {
					t.Errorf("%q has no time", got)
				}
				return
			}
			if got != "WATCHDOG=1" { // comes whenever it is time
				t.Fatalf("told %q, want %s", got, want)
			}
		}
	}
	file := filepath.Join(dir, "config")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write("a")
	load := func() (*string, *Report) {
		b, err := os.ReadFile(file)
		s, r := string(b), &Report{}
		if err != nil || s == "bad" {
			r.Faults = config.Faults{{Msg: "bad"}}
		}
		return &s, r
	}
	cfg, _ := load()
	made := make(chan string, 10)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- Service[string, *sleeper]{
			File: file, Load: load, Log: func(*string) *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) },
			New: func(c *string, _ *slog.Logger, before *sleeper, _ prometheus.Collector) (*sleeper, error) {
				was := "nothing"
				if before != nil {
					was = before.text
				}
				made <- was + " → " + *c
				if *c == "impossible" {
					return nil, errors.New("impossible")
				}
				return &sleeper{*c}, nil
			},
		}.Run(ctx, cfg)
	}()
	told("READY=1")
	told("WATCHDOG=1")
	write("b")
	told("RELOADING=1")
	told("READY=1")
	write("bad")
	write("impossible")
	told("RELOADING=1")
	told("READY=1")
	write("c")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil { // at once, without the look
		t.Fatal(err)
	}
	told("RELOADING=1")
	told("READY=1")
	stop()
	told("STOPPING=1")
	if err := <-ended; err != nil {
		t.Error(err)
	}
	close(made)
	var got []string
	for m := range made {
		got = append(got, m)
	}
	if want := "nothing → a, a → b, b → impossible, b → b, b → c"; strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
}
