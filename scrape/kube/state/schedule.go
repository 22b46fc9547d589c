package state

import (
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // images from scratch have no zones
)

// cronFields are the five fields of a schedule, with their ranges and the names that some know.
var cronFields = [5]struct {
	min, max int
	names    string
}{
	{0, 59, ""}, {0, 23, ""}, {1, 31, ""},
	{1, 12, "jan feb mar apr may jun jul aug sep oct nov dec "},
	{0, 6, "sun mon tue wed thu fri sat "},
}

// validSchedule says whether Kubernetes can make sense of a CronJob's schedule
// (kubernetes.io/docs/concepts/workloads/controllers/cron-jobs, "Schedule syntax").
func validSchedule(s string) bool {
	if rest, ok := strings.CutPrefix(s, "TZ="); ok {
		return validZoned(rest)
	}
	if rest, ok := strings.CutPrefix(s, "CRON_TZ="); ok {
		return validZoned(rest)
	}
	if every, ok := strings.CutPrefix(s, "@every "); ok {
		_, err := time.ParseDuration(every)
		return err == nil
	}
	switch s {
	case "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly":
		return true
	}
	fields := strings.Fields(s)
	if len(fields) != len(cronFields) {
		return false
	}
	for i, f := range fields {
		for part := range strings.SplitSeq(f, ",") {
			if !validPart(part, i) {
				return false
			}
		}
	}
	return true
}

// validZoned is a schedule behind a time zone, which old servers let pass.
func validZoned(s string) bool {
	zone, rest, ok := strings.Cut(s, " ")
	return ok && validZone(zone) && !strings.HasPrefix(rest, "TZ=") && !strings.HasPrefix(rest, "CRON_TZ=") && validSchedule(strings.TrimSpace(rest))
}

// validPart is one of a list: *, ?, n, n-m, each with /step.
func validPart(s string, field int) bool {
	f := &cronFields[field]
	span, step, stepped := strings.Cut(s, "/")
	if stepped {
		if n, err := strconv.ParseUint(step, 10, 16); err != nil || n == 0 {
			return false
		}
	}
	if span == "*" || span == "?" {
		return true
	}
	from, to, ranged := strings.Cut(span, "-")
	a, ok := cronNumber(from, field)
	if !ok || a < f.min || a > f.max {
		return false
	}
	if !ranged {
		return true
	}
	b, ok := cronNumber(to, field)
	return ok && b >= a && b <= f.max
}

func cronNumber(s string, field int) (int, bool) {
	if names := cronFields[field].names; len(s) == 3 && names != "" {
		if i := strings.Index(names, strings.ToLower(s)+" "); i >= 0 && i%4 == 0 {
			return cronFields[field].min + i/4, true
		}
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil
}

// validZone says whether a CronJob's time zone exists; "" is that of the controller.
func validZone(zone string) bool {
	if zone == "" {
		return true
	}
	if strings.EqualFold(zone, "Local") { // the API refuses it
		return false
	}
	_, err := time.LoadLocation(zone)
	return err == nil
}
