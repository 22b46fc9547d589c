package state

import (
	"errors"
	"strings"
	"time"
	_ "time/tzdata" // images from scratch have no zones

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
)

// parseSchedule reads a CronJob's schedule with the parser that Kubernetes' controller has.
func parseSchedule(s string) (cron.Schedule, error) {
	if (strings.HasPrefix(s, "TZ=") || strings.HasPrefix(s, "CRON_TZ=")) && !strings.Contains(s, " ") {
		return nil, errors.New("a time zone and no schedule") // the parser panics
	}
	return cron.ParseStandard(s)
}

func validSchedule(s string) bool {
	_, err := parseSchedule(s)
	return err == nil
}

// zoneOf finds a CronJob's time zone; "" is that of the controller, which is UTC in its images.
func zoneOf(zone string) (*time.Location, error) {
	if zone == "" {
		return time.UTC, nil
	}
	if strings.EqualFold(zone, "Local") { // the API refuses it
		return nil, errors.New("no zone has this name")
	}
	return time.LoadLocation(zone)
}

func validZone(zone string) bool {
	_, err := zoneOf(zone)
	return err == nil
}

// nextSchedule is the first time of a schedule after the last one, or after the creation of a CronJob that
// has not run yet; zero if there is none, or it is suspended.
func nextSchedule(c *batchv1.CronJob) time.Time {
	schedule, err := parseSchedule(c.Spec.Schedule)
	if err != nil || or(c.Spec.Suspend, false) {
		return time.Time{}
	}
	zone, err := zoneOf(or(c.Spec.TimeZone, ""))
	if err != nil {
		return time.Time{}
	}
	last := c.CreationTimestamp
	if t := c.Status.LastScheduleTime; t != nil {
		last = *t
	}
	if last.IsZero() {
		return time.Time{}
	}
	return schedule.Next(last.In(zone))
}
