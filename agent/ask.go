package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	askTimeout = 5 * time.Second
	maxStatus  = 4 << 20
	// What is wrong, by the same measure as the alerts in deploy/prometheus/rules.yaml.
	lateSeconds = 60
	fullMemory  = 0.9
)

// Ask asks the running agent, at the admin address of its configuration, how it is: a screen of text, whose
// lines begin with ok or fail, and whether all are ok.
func Ask(ctx context.Context, cfg *Config) (text string, well bool, err error) {
	host, port, err := net.SplitHostPort(cfg.Admin.Listen)
	if err != nil {
		return "", false, fmt.Errorf("admin.listen: %q: no server to ask", cfg.Admin.Listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost" // it listens on all addresses
	}
	address := net.JoinHostPort(host, port)
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/status", nil)
	if err != nil {
		return "", false, err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req) // past any proxy
	if err != nil {
		return "", false, fmt.Errorf("no agent answers at admin.listen: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	if err != nil {
		return "", false, fmt.Errorf("read the answer of %s: %w", address, err)
	}
	var s Status
	if err := json.Unmarshal(body, &s); err != nil || resp.StatusCode != http.StatusOK {
		return "", false, fmt.Errorf("what answers at %s is no stint-agent: %s", address, resp.Status)
	}
	text, well = s.screen(time.Now())
	return text, well, nil
}

// Watch writes what Ask tells, again and again until ctx ends; on a terminal in place of what stood there. An agent that does
// not answer is said, and asked again: it may be starting.
func Watch(ctx context.Context, cfg *Config, every time.Duration, terminal bool, w io.Writer) error {
	before, after := "", "\n"
	if terminal {
		before, after = "\x1b[H\x1b[2J", "" // home, erase all: ECMA-48
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		text, _, err := Ask(ctx, cfg)
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

// screen is a text in lines that begin with ok or fail.
type screen struct {
	text []byte
	well bool
}

// line adds one. It is no place to be inlined: there are many, and the binary has a limit.
//
//go:noinline
func (s *screen) line(ok bool, what string, words ...string) {
	level := "ok   "
	if !ok {
		level, s.well = "fail ", false
	}
	s.text = append(s.text, level...)
	s.text = append(s.text, what...)
	for n := len(what); n < 9; n++ {
		s.text = append(s.text, ' ')
	}
	for _, w := range words {
		if w != "" {
			s.text = append(append(s.text, ' '), w...)
		}
	}
	s.text = append(s.text, '\n')
}

// screen is the state in words: what is wrong stands in lines that begin with fail.
func (s *Status) screen(now time.Time) (string, bool) {
	c := screen{well: true}
	ago := func(t time.Time) string { return now.Sub(t).Round(time.Second).String() }
	c.text = append(c.text, "stint-agent "+s.Version+" on "+s.Node+", up "+(time.Duration(s.Uptime)*time.Second).String()+"\n"...)

	c.line(s.Lines.Lost == 0, "lines", "read", number(s.Lines.Read)+", delivered", number(s.Lines.Delivered)+", in flight", number(s.Lines.InFlight)+", lost", number(s.Lines.Lost)+", repeated", number(s.Lines.Repeated))
	c.line(true, "rate", number(int64(s.Rates.Lines)), "lines/s,", size(int64(s.Rates.Bytes))+"/s,", strconv.FormatFloat(s.Rates.CPU, 'f', 1, 64), "% of a core")
	if t := s.Tail; t != nil {
		late := t.BehindSecs > lateSeconds
		c.line(!late, "behind", number(int64(t.BehindSecs)), "s,", size(t.BehindBytes))
		for _, l := range t.Behind {
			if late {
				c.line(false, "behind", l.Log, size(l.Bytes))
			}
		}
		for _, l := range t.Lost {
			c.line(false, "lost", size(l.Bytes), "of logs:", l.Reason)
		}
		c.line(t.SaveError == "" && (t.Saved.IsZero() || now.Sub(t.Saved) <= lateSeconds*time.Second), "offsets", "saved", since(t.Saved, ago), t.SaveError)
	}
	if j := s.Journald; j != nil {
		c.line(j.BehindSecs <= lateSeconds && j.SaveError == "", "journal", number(int64(j.BehindSecs)), "s behind", j.SaveError)
	}
	for i := range s.Exporters {
		e := &s.Exporters[i]
		waits := "; " + size(e.WaitBytes) + " wait in memory, " + size(e.OnDisk) + " on disk"
		if e.Down != "" {
			c.line(false, "exporter", e.Exporter, "takes no", e.Signal, "for", ago(e.DownSince), "("+e.Down+"):", e.Error+waits)
		} else {
			c.line(true, "exporter", e.Exporter, "took", e.Signal, since(e.LastOK, ago)+waits)
		}
		if lost := e.Dropped + e.Rejected; lost > 0 {
			c.line(false, "exporter", e.Exporter, "refused", number(lost), e.Signal, "for good")
		}
	}
	p := &s.Process
	limit := "no limit"
	if p.MemoryLimit > 0 {
		limit = "limit " + size(p.MemoryLimit)
	}
	c.line(p.MemoryLimit == 0 || float64(p.RSS) <= fullMemory*float64(p.MemoryLimit), "memory", size(p.RSS), "resident,", limit+"; records take", size(p.PoolUsed), "of", size(p.PoolLimit))
	for i := range s.Scrapers {
		if r := &s.Scrapers[i]; r.Failing {
			c.line(false, "scraper", r.Source+"/"+r.Scraper+":", r.LastError)
		}
	}
	return string(c.text), c.well
}

// since is how long ago something was, if it was.
func since(t time.Time, ago func(time.Time) string) string {
	if t.IsZero() {
		return "never"
	}
	return ago(t) + " ago"
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// size is a number of bytes for a reader.
func size(n int64) string {
	if n < 1<<20 {
		return number((n+1<<10-1)>>10) + " KiB"
	}
	return number(n>>20) + " MiB"
}
