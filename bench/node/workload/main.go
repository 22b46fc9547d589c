// Command workload is what the pods of make test-node run. Without an argument it waits for a signal: the pause
// container of each pod. With -rate it writes numbered lines, four of five to stdout, one to stderr, until SIGUSR1 or
// -lines says that it is enough; the last line of each stream says how many the stream has.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var padding = strings.Repeat("x", 100)

// stream is one of the two, of one run of one container.
type stream struct {
	out   io.Writer
	name  string // pod/container/run/stream
	lines int
}

func (s *stream) write(text string) {
	s.lines++
	if _, err := fmt.Fprintf(s.out, "%s %d %s\n", s.name, s.lines, text); err != nil {
		panic(err) // the runtime's pipe is gone
	}
}

func main() {
	rate := flag.Int("rate", 0, "lines a second")
	lines := flag.Int("lines", 0, "end, with status 1, after that many; 0: after SIGUSR1 wait for the end")
	flag.Parse()

	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	enough := make(chan os.Signal, 1)
	signal.Notify(enough, syscall.SIGUSR1)
	if *rate == 0 {
		<-term
		return
	}

	run := fmt.Sprintf("%s/%s/%s", os.Getenv("POD_NAME"), os.Getenv("CONTAINER"), strconv.FormatInt(time.Now().UnixNano(), 36))
	stdout := &stream{out: os.Stdout, name: run + "/stdout"}
	stderr := &stream{out: os.Stderr, name: run + "/stderr"}
	tick := time.NewTicker(time.Second / 10)
	defer tick.Stop()
	for n := 0; ; {
		for range max(*rate/10, 1) {
			if n++; n%5 == 0 {
				stderr.write(padding)
			} else {
				stdout.write(padding)
			}
		}
		if *lines > 0 && n >= *lines {
			stdout.write("end")
			stderr.write("end")
			os.Exit(1)
		}
		select {
		case <-tick.C:
		case <-term:
			return
		case <-enough:
			stdout.write("end")
			stderr.write("end")
			<-term
			return
		}
	}
}
