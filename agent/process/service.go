package process

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"strconv"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// Program is one of the two programs at work with one configuration.
type Program interface {
	// Run works until ctx ends and leaves nothing behind; when the cause of the end is [ErrReload], but for
	// what the next one is to go on with.
	Run(ctx context.Context) error
	// NotAlive says why a restart is needed; nothing: it is not.
	NotAlive() []string
}

// ErrReload is why a Program has to end, for another one to take its place.
var ErrReload = errors.New("the configuration has changed")

// Service keeps a Program running with the configuration of the moment.
type Service[C any, P Program] struct {
	File string               // read again when it changes, and at SIGHUP; empty: never
	Load func() (*C, *Report) // reads and checks
	// New makes the Program; before is the one that has just ended, the zero value at the start. more is to be
	// registered with its metrics.
	New func(cfg *C, log *slog.Logger, before P, more prometheus.Collector) (P, error)
	Log func(*C) *slog.Logger
}

// fileLook is how often the file is looked at.
const fileLook = time.Second

// Run works until ctx ends, or the Program fails. A configuration that can't be used is logged, and the last good one
// goes on.
func (s Service[C, P]) Run(ctx context.Context, cfg *C) error {
	reloads, log := NewReloads(), s.Log(cfg)
	var none P
	p, err := s.New(cfg, log, none, reloads)
	if err != nil {
		return err
	}
	hangup := make(chan os.Signal, 1)
	if s.File != "" {
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
	}
	defer context.AfterFunc(ctx, func() { notify(daemon.SdNotifyStopping) })()
	file := watch{path: s.File}
	file.changed()
	for {
		run, stop := context.WithCancelCause(ctx)
		ended := make(chan error, 1)
		go func() { ended <- p.Run(run) }()
		notify(daemon.SdNotifyReady)
		next, err := s.wait(ctx, cfg, p, &file, hangup, ended, reloads, log)
		if next == nil {
			stop(nil)
			return err
		}
		stop(ErrReload)
		if err := <-ended; err != nil || ctx.Err() != nil {
			return err
		}
		before, was := p, log
		log = s.Log(next)
		if p, err = s.New(next, log, before, reloads); err == nil {
			cfg = next
			log.Info("the configuration was reloaded", "file", s.File)
			reloads.done(nil)
			continue
		}
		log = was
		log.Error("the new configuration can't be used; the one before is", "file", s.File, "err", err)
		reloads.done(err)
		if p, err = s.New(cfg, log, before, reloads); err != nil {
			return err
		}
	}
}

// wait waits for the end of the Program, whose error it gives, or for another configuration.
func (s Service[C, P]) wait(ctx context.Context, cfg *C, p P, file *watch, hangup <-chan os.Signal, ended <-chan error, reloads *Reloads, log *slog.Logger) (*C, error) {
	look := time.NewTicker(fileLook)
	defer look.Stop()
	dog := make(<-chan time.Time)
	if every, err := daemon.SdWatchdogEnabled(false); err == nil && every > 0 {
		t := time.NewTicker(every / 3)
		defer t.Stop()
		dog = t.C
	}
	for {
		asked := false
		select {
		case err := <-ended:
			return nil, err
		case <-dog:
			if len(p.NotAlive()) == 0 {
				notify(daemon.SdNotifyWatchdog)
			}
			continue
		case <-look.C:
			if s.File == "" || !file.changed() {
				continue
			}
		case <-hangup:
			asked = true
			file.changed()
		}
		if ctx.Err() != nil {
			return nil, <-ended
		}
		next, report := s.Load()
		switch {
		case len(report.Faults) > 0:
			log.Error("the changed configuration has faults; the one before goes on", "file", s.File, "err", report.Faults)
			reloads.done(report.Faults)
		case reflect.DeepEqual(cfg, next):
			if asked {
				log.Info("the configuration is as it was", "file", s.File)
			}
			reloads.done(nil)
		default:
			notify(daemon.SdNotifyReloading + "\nMONOTONIC_USEC=" + monotonic())
			return next, nil
		}
	}
}

// watch tells when a file's content has changed.
type watch struct {
	path string
	stat unix.Stat_t
	text []byte
}

func (w *watch) changed() bool {
	var st unix.Stat_t
	if unix.Stat(w.path, &st) != nil || st.Mtim == w.stat.Mtim && st.Ino == w.stat.Ino && st.Size == w.stat.Size {
		return false // one that is away is being replaced
	}
	text, err := os.ReadFile(w.path)
	if err != nil || bytes.Equal(text, w.text) {
		return false
	}
	w.stat, w.text = st, text
	return true
}

// notify tells systemd, if it wants to know.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }

// monotonic is what sd_notify(3) wants with RELOADING=1.
func monotonic() string {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic("bug: " + err.Error())
	}
	return strconv.FormatInt(t.Nano()/1000, 10)
}

// Reloads are metrics that outlive a Program. They have the names that Prometheus' own programs have.
type Reloads struct{ ok, at prometheus.Gauge }

// NewReloads makes them.
func NewReloads() *Reloads {
	r := &Reloads{
		ok: prometheus.NewGauge(prometheus.GaugeOpts{Name: "stint_config_last_reload_successful", Help: "1 unless the configuration was changed and can't be used: then 0, and the one before goes on."}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{Name: "stint_config_last_reload_success_timestamp_seconds", Help: "When the configuration in effect was read, Unix time."}),
	}
	r.done(nil)
	return r
}

func (r *Reloads) done(err error) {
	if err != nil {
		r.ok.Set(0)
		return
	}
	r.ok.Set(1)
	r.at.SetToCurrentTime()
}

// Describe implements prometheus.Collector.
func (r *Reloads) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, to) }

// Collect implements prometheus.Collector.
func (r *Reloads) Collect(to chan<- prometheus.Metric) { r.ok.Collect(to); r.at.Collect(to) }
