package host

import (
	"errors"
	"fmt"
	"strings"

	"stint/export/otlp"
	"stint/scrape/series"
)

const (
	systemdState = iota
	systemdRestarts
)

const systemdAsked = "host.systemd is on"

var systemdMetrics = []series.Metric{
	systemdState: {
		Metric: otlp.Metric{Name: "systemd.unit.state", Unit: "1", Instrument: otlp.UpDown,
			Description: "1 for the state that a unit is in, 0 for others. Without systemd.units it is the state failed alone, of units that failed since the agent's start and are still loaded."},
		Attributes: "systemd.unit.name=<unit>; systemd.unit.state=active|inactive|activating|deactivating|failed|reloading",
		Source:     "D-Bus org.freedesktop.systemd1 ListUnits",
		When:       systemdAsked,
	},
	systemdRestarts: {
		Metric: otlp.Metric{Name: "systemd.unit.restart.count", Unit: "{restart}", Instrument: otlp.Counter,
			Description: "Times that systemd started a service again because of its Restart=."},
		Attributes: "systemd.unit.name=<unit>",
		Source:     "D-Bus NRestarts, of the units of systemd.unit.state that are services",
		When:       systemdAsked + ", since systemd 235",
	},
}

// systemdStates are the states, in the order of their points; the fifth is failed.
var systemdStates = [...]string{"active", "inactive", "activating", "deactivating", "failed", "reloading"}

const systemdFailed = 4

// maxUnits bounds the units that are reported.
const maxUnits = 2000

// systemd is the scraper of the states of units. It asks the manager at its private socket, which is
// root's, else on the system bus.
type systemd struct {
	cfg   Systemd
	buses [2]dbus
	last  int // of buses, that which was connected to last
	units table[systemdUnit]
	prev  uint64
}

// systemdUnit is a unit that was listed.
type systemdUnit struct {
	skip     bool // not selected
	shown    bool // it failed once, or is selected
	report   bool // in this scrape
	object   string
	state    int // index into systemdStates, -1: another one
	service  bool
	restarts uint64
	known    bool // restarts
	start    uint64
	attrs    []byte
	states   [len(systemdStates)][]byte
}

func newSystemd(h *Host, cfg *Config) scraper {
	return &systemd{cfg: cfg.Systemd, buses: [...]dbus{
		newDBus(h.root+"/run/systemd/private", ""),
		newDBus(h.root+"/run/dbus/system_bus_socket", systemdName),
	}}
}

func (s *systemd) close() {}

func (s *systemd) scrape(p *series.Points, now uint64) error {
	d, err := s.connect()
	if err != nil {
		return err
	}
	defer d.close()
	r, err := d.call(d.name, "/org/freedesktop/systemd1", systemdName+".Manager", "ListUnits")
	if err != nil {
		return fmt.Errorf("ask systemd at %s: %w", d.addr.Name, err)
	}
	err = s.list(&r)
	for _, u := range s.units.list {
		if u.known = u.known && u.report; u.service && u.report && err == nil {
			err = s.askRestarts(d, u)
		}
	}
	boot := p.Start
	for _, u := range s.units.list {
		for i, attrs := range u.states {
			if u.report && (len(s.cfg.Units) > 0 || i == systemdFailed) {
				p.Int(systemdState, attrs, one(u.state == i))
			}
		}
	}
	for _, u := range s.units.list {
		if u.known {
			if p.Start = u.start; u.start == 0 {
				p.Start = boot
			}
			p.Int(systemdRestarts, u.attrs, u.restarts)
		}
	}
	p.Start, s.prev = boot, now
	return err
}

func one(is bool) uint64 {
	if is {
		return 1
	}
	return 0
}

// connect opens the first connection that can be had, beginning with that of the last scrape.
func (s *systemd) connect() (*dbus, error) {
	var errs error
	for i := range s.buses {
		at := (s.last + i) % len(s.buses)
		d := &s.buses[at]
		err := d.open()
		if err == nil {
			s.last = at
			return d, nil
		}
		d.close()
		errs = errors.Join(errs, fmt.Errorf("connect to systemd at %s: %w", d.addr.Name, err))
	}
	return nil, errs
}

var errManyUnits = fmt.Errorf("systemd has more than %d units that are to be reported; the others are left out; name fewer in scrape.host.systemd.units", maxUnits)

// list takes in the answer to ListUnits, an array of units: (name, description, load state, active
// state, sub state, followed unit, object, job's number, its type, its object).
func (s *systemd) list(r *dbusReader) (err error) {
	for _, u := range s.units.list {
		u.report = false
	}
	reported := 0
	s.units.begin()
	size := r.uint32()
	r.align(8)
	end := r.at + int(min(size, maxDBus))
	for r.at < end && !r.bad {
		r.align(8)
		name := r.string()
		r.string()
		r.string()
		state := r.string()
		r.string()
		r.string()
		object := r.string()
		r.uint32()
		r.string()
		r.string()
		if r.bad {
			break
		}
		u, fresh := s.units.get(name)
		if fresh {
			s.appear(u, string(name), string(object))
		}
		if u.skip {
			continue
		}
		u.state = -1
		for i, name := range systemdStates {
			if string(state) == name {
				u.state = i
			}
		}
		if u.shown = u.shown || u.state == systemdFailed; !u.shown {
			continue
		}
		if reported >= maxUnits {
			err = errManyUnits
			continue
		}
		reported++
		u.report = true
		if u.attrs == nil {
			u.encode(string(name))
		}
	}
	s.units.sweep()
	if r.bad {
		return fmt.Errorf("units of systemd: %w", errDBusMalformed)
	}
	return err
}

// appear decides on a unit that was not listed before.
func (s *systemd) appear(u *systemdUnit, name, object string) {
	u.skip = len(s.cfg.Units) > 0 && !matchesAny(s.cfg.Units, name)
	u.shown = len(s.cfg.Units) > 0
	u.object, u.start = object, s.prev
	u.service = strings.HasSuffix(name, ".service")
}

// encode makes the attributes of a unit that is reported for the first time.
func (u *systemdUnit) encode(name string) {
	unit := otlp.Attr("systemd.unit.name", name)
	u.attrs = series.Attributes(unit)
	for i, state := range systemdStates {
		u.states[i] = series.Attributes(unit, otlp.Attr("systemd.unit.state", state))
	}
}

// askRestarts asks for how often a service was started again. One that is gone, or a manager that
// does not count, has no such property.
func (s *systemd) askRestarts(d *dbus, u *systemdUnit) error {
	r, err := d.call(d.name, u.object, "org.freedesktop.DBus.Properties", "Get", systemdName+".Service", "NRestarts")
	if err != nil {
		u.known = false
		if fault := (*dbusFault)(nil); errors.As(err, &fault) {
			return nil
		}
		return fmt.Errorf("ask systemd at %s: %w", d.addr.Name, err)
	}
	kind := r.signature()
	n := uint64(r.uint32())
	if u.known = !r.bad && string(kind) == "u"; !u.known {
		return fmt.Errorf("restarts of %s: %w", u.object, errDBusMalformed)
	}
	if n < u.restarts { // it was started by hand
		u.start = s.prev
	}
	u.restarts = n
	return nil
}
