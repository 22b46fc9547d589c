package agent

import (
	"context"
	"strconv"
	"time"

	"stint/agent/command"
)

// lateSeconds is how far behind is wrong, by the same measure as the alert in deploy/prometheus/rules.yaml.
const lateSeconds = 60

// Ask asks the running agent, at the admin address of its configuration, how it is: a screen of text, whose
// lines begin with ok or fail, and whether all are ok.
func Ask(ctx context.Context, cfg *Config) (text string, well bool, err error) {
	var s Status
	if err := command.Ask(ctx, "stint-agent", cfg.Admin.Listen, &s); err != nil {
		return "", false, err
	}
	text, well = s.screen(time.Now())
	return text, well, nil
}

// screen is the state in words: what is wrong stands in lines that begin with fail.
func (s *Status) screen(now time.Time) (string, bool) {
	number, size := command.Number, command.Size
	c := command.NewScreen("stint-agent", s.Version, s.Node, s.Uptime, now)
	c.Line(s.Lines.Lost == 0, "lines", "read", number(s.Lines.Read)+", delivered", number(s.Lines.Delivered)+", in flight", number(s.Lines.InFlight)+", lost", number(s.Lines.Lost)+", repeated", number(s.Lines.Repeated))
	c.Line(true, "rate", number(int64(s.Rates.Lines)), "lines/s,", size(int64(s.Rates.Bytes))+"/s,", strconv.FormatFloat(s.Rates.CPU, 'f', 1, 64), "% of a core")
	if t := s.Tail; t != nil {
		late := t.BehindSecs > lateSeconds
		c.Line(!late, "behind", number(int64(t.BehindSecs)), "s,", size(t.BehindBytes))
		for _, l := range t.Behind {
			if late {
				c.Line(false, "behind", l.Log, size(l.Bytes))
			}
		}
		for _, l := range t.Lost {
			c.Line(false, "lost", size(l.Bytes), "of logs:", l.Reason)
		}
		c.Line(t.SaveError == "" && (t.Saved.IsZero() || now.Sub(t.Saved) <= lateSeconds*time.Second), "offsets", "saved", c.Ago(t.Saved), t.SaveError)
	}
	if j := s.Journald; j != nil {
		c.Line(j.BehindSecs <= lateSeconds && j.SaveError == "", "journal", number(int64(j.BehindSecs)), "s behind", j.SaveError)
	}
	c.Exporters(s.Exporters)
	c.Memory(&s.Process)
	for i := range s.Scrapers {
		if r := &s.Scrapers[i]; r.Failing {
			c.Line(false, "scraper", r.Source+"/"+r.Scraper+":", r.LastError)
		}
	}
	return string(c.Text), c.Well
}
