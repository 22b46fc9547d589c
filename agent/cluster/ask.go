package cluster

import (
	"context"
	"strconv"
	"time"

	"stint/agent/command"
)

// Ask asks the running replica, at the admin address of its configuration, how it is: a screen of text, whose
// lines begin with ok or fail, and whether all are ok.
func Ask(ctx context.Context, cfg *Config) (text string, well bool, err error) {
	var s Status
	if err := command.Ask(ctx, "stint-cluster", cfg.Admin.Listen, &s); err != nil {
		return "", false, err
	}
	text, well = s.screen(time.Now())
	return text, well, nil
}

// screen is the state in words: what is wrong stands in lines that begin with fail.
func (s *Status) screen(now time.Time) (string, bool) {
	c := command.NewScreen("stint-cluster", s.Version, "", s.Uptime, now)
	if l := s.Leader; l != nil {
		switch {
		case l.Leader:
			c.Line(l.Error == "", "leader", "this replica,", l.Identity+",", "renewed", strconv.Itoa(int(l.Renewed)), "s ago", l.Error)
		case l.Holder != "":
			c.Line(l.Error == "", "leader", l.Holder, l.Error)
		default:
			c.Line(false, "leader", "none", l.Error)
		}
	}
	for _, x := range s.Sources {
		c.Line(x.Stuck == "", "source", x.Source+":", command.Number(x.Pending), "chunks are not delivered yet", x.Stuck)
	}
	c.Exporters(s.Exporters)
	c.Memory(&s.Process)
	return string(c.Text), c.Well
}
