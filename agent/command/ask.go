package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	askTimeout = 5 * time.Second
	maxStatus  = 4 << 20
	// watchInterval is the time between two screens of the command top.
	watchInterval = 2 * time.Second
)

// Ask reads what the running program says of itself at /status of its admin address into status.
func Ask(ctx context.Context, program, listen string, status any) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("admin.listen: %q: no server to ask", listen)
	}
	switch host { // it listens on all addresses
	case "0.0.0.0":
		host = "127.0.0.1"
	case "", "::":
		host = "localhost"
	}
	address := net.JoinHostPort(host, port)
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/status", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req) // past any proxy
	if err != nil {
		return fmt.Errorf("no %s answers at admin.listen: %w", program, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", address, err)
	}
	var who struct {
		Program string `json:"program"`
	}
	if json.Unmarshal(body, &who) != nil || json.Unmarshal(body, status) != nil || who.Program != program || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("what answers at %s is no %s: %s %s", address, program, resp.Status, who.Program)
	}
	return nil
}

// Watch writes what ask tells, again and again until ctx ends; on a terminal in place of what stood there. A program that does
// not answer is said, and asked again: it may be starting.
func Watch(ctx context.Context, every time.Duration, terminal bool, w io.Writer, ask func(context.Context) (text string, well bool, err error)) error {
	before, after := "", "\n"
	if terminal {
		before, after = "\x1b[H\x1b[2J", "" // home, erase all: ECMA-48
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		text, _, err := ask(ctx)
		if err != nil {
			text = "fail " + err.Error() + "\n"
		}
		if ctx.Err() != nil {
			return nil
		}
		if _, err := io.WriteString(w, before+text+after); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
