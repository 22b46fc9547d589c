package kube

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgress(t *testing.T) {
	bad := errors.New("forbidden")
	for name, tc := range map[string]struct {
		do   func(p *Progress)
		want string
	}{
		"nothing was asked yet":       {func(p *Progress) { time.Sleep(time.Hour) }, ""},
		"data each interval":          {func(p *Progress) { p.Every(10 * time.Second); time.Sleep(30 * time.Second) }, ""},
		"no data for three intervals": {func(p *Progress) { p.Every(10 * time.Second); time.Sleep(31 * time.Second) }, "no data for 31s, its interval is 10s"},
		"data again":                  {func(p *Progress) { p.Every(10 * time.Second); time.Sleep(31 * time.Second); p.Done() }, ""},
		"a list that fails for 59 s":  {func(p *Progress) { p.Listed("pods", bad); time.Sleep(59 * time.Second) }, ""},
		"a list that fails for 60 s":  {func(p *Progress) { p.Listed("pods", bad); time.Sleep(time.Minute) }, "can't list pods for 1m0s: forbidden"},
		"it fails again and again":    {func(p *Progress) { p.Listed("pods", errors.New("x")); time.Sleep(time.Minute); p.Listed("pods", bad) }, "can't list pods for 1m0s: forbidden"},
		"one of two kinds works":      {func(p *Progress) { p.Listed("pods", bad); p.Listed("nodes", nil); time.Sleep(time.Hour) }, ""},
		"both fail, one not yet long": {func(p *Progress) {
			p.Listed("pods", bad)
			time.Sleep(59 * time.Second)
			p.Listed("nodes", bad)
			time.Sleep(time.Second)
		}, ""},
		"both fail": {func(p *Progress) { p.Listed("pods", bad); p.Listed("nodes", bad); time.Sleep(time.Minute) }, "can't list nodes, pods for 1m0s: forbidden"},
		"it worked in between": {func(p *Progress) {
			p.Listed("pods", bad)
			time.Sleep(59 * time.Second)
			p.Listed("pods", nil)
			p.Listed("pods", bad)
			time.Sleep(59 * time.Second)
		}, ""},
		"what was before the term began": {func(p *Progress) { p.Listed("pods", bad); p.Every(time.Second); time.Sleep(time.Hour); p.Begin() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p Progress
				p.Begin()
				tc.do(&p)
				if got := p.Stuck(); got != tc.want {
					t.Errorf("stuck: %q, want %q", got, tc.want)
				}
			})
		})
	}
}
