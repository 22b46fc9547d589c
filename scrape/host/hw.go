package host

import (
	"bytes"
	"errors"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	hwTemperature = iota
	hwTemperatureLimit
	hwFanSpeed
	hwVoltage
	hwPower
	hwEnergy
	hwErrors
	hwCooling
	hwBattery
	hwDiskSize
	hwOtherSensor // with other, as the next
	hwOtherSupply
)

const (
	hwSensorAttributes = "hw.id; hw.name; hw.parent; hw.sensor_location"
	hwAsked            = "host.hw.detail is on and there is such a sensor"
)

var hwMetrics = []series.Metric{
	hwTemperature: {
		Metric: otlp.Metric{Name: "hw.temperature", Unit: "Cel", Instrument: otlp.Gauge, Double: true,
			Description: "Temperature that a sensor reports. hw.parent is its chip, hw.sensor_location what the chip's driver calls the place."},
		Attributes: hwSensorAttributes,
		Source:     "/sys/class/hwmon/hwmon*/temp*_input, /sys/class/thermal/thermal_zone*/temp of zones that are not in hwmon",
		When:       "there is such a sensor",
	},
	hwTemperatureLimit: {
		Metric: otlp.Metric{Name: "hw.temperature.limit", Unit: "Cel", Instrument: otlp.Gauge, Double: true,
			Description: "Temperatures that the chip's driver calls too low and too high."},
		Attributes: hwSensorAttributes + "; hw.limit_type=low.critical|low.degraded|high.degraded|high.critical",
		Source:     "/sys/class/hwmon/hwmon*/temp*_lcrit, _min, _max, _crit",
		When:       hwAsked,
	},
	hwFanSpeed: {
		Metric: otlp.Metric{Name: "hw.fan.speed", Unit: "rpm", Instrument: otlp.Gauge,
			Description: "Speed of a fan."},
		Attributes: hwSensorAttributes,
		Source:     "/sys/class/hwmon/hwmon*/fan*_input",
		When:       "there is such a sensor",
	},
	hwVoltage: {
		Metric: otlp.Metric{Name: "hw.voltage", Unit: "V", Instrument: otlp.Gauge, Double: true,
			Description: "Voltage that a sensor reports."},
		Attributes: hwSensorAttributes,
		Source:     "/sys/class/hwmon/hwmon*/in*_input",
		When:       hwAsked,
	},
	hwPower: {
		Metric: otlp.Metric{Name: "hw.power", Unit: "W", Instrument: otlp.Gauge, Double: true,
			Description: "Power that a component draws, or gives in the case of a battery."},
		Attributes: "hw.id; hw.type=battery|cpu|enclosure|gpu|power_supply",
		Source:     "/sys/class/hwmon/hwmon*/power*_input or _average, /sys/class/power_supply/*/power_now",
		When:       "there is such a sensor",
	},
	hwEnergy: {
		Metric: otlp.Metric{Name: "hw.energy", Unit: "J", Instrument: otlp.Counter, Double: true,
			Description: "Energy that parts of the processor used. Those of a core or memory (intel-rapl:0:0) may be contained in the package's (intel-rapl:0)."},
		Attributes: "hw.id; hw.type=cpu",
		Source:     "/sys/class/powercap/intel-rapl:*/energy_uj",
		When:       "the processor tells and the agent may read it (root or CAP_DAC_READ_SEARCH)",
	},
	hwErrors: {
		Metric: otlp.Metric{Name: "hw.errors", Unit: "{error}", Instrument: otlp.Counter,
			Description: "Memory errors that the controller corrected, and those that it could not."},
		Attributes: "hw.id; hw.type=memory; error.type=correctable|uncorrectable",
		Source:     "/sys/devices/system/edac/mc/mc*/ce_count, ue_count",
		When:       "the kernel has a driver for the memory controller (EDAC)",
	},
	hwCooling: {
		Metric: otlp.Metric{Name: "hw.cooling_device.state", Unit: "1", Instrument: otlp.Gauge,
			Description: "How much a device cools, 0 to the maximum: a fan's step, or how far a processor is slowed down."},
		Attributes: "hw.id; hw.name; hw.cooling.value=current|maximum",
		Source:     "/sys/class/thermal/cooling_device*/cur_state, max_state",
		When:       hwAsked,
	},
	hwBattery: {
		Metric: otlp.Metric{Name: "hw.battery.charge", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Charge of a battery, 0 to 1."},
		Attributes: "hw.id",
		Source:     "/sys/class/power_supply/*/capacity",
		When:       "there is a battery",
	},
	hwDiskSize: {
		Metric: otlp.Metric{Name: "hw.physical_disk.size", Unit: "By", Instrument: otlp.UpDown,
			Description: "Size of an NVMe namespace."},
		Attributes: "hw.id=<namespace>; hw.model; hw.serial_number; hw.firmware_version",
		Source:     "/sys/class/nvme/nvme*/nvme*n*/size",
		When:       "host.hw.detail is on and there is an NVMe disk",
	},
	hwOtherSensor: {
		Metric: otlp.Metric{Name: "hw.sensor", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Every other number of a chip's driver, in the driver's unit, which is mostly a thousandth."},
		Attributes: hwSensorAttributes + "; hw.sensor.field=<attribute>",
		Source:     "/sys/class/hwmon/hwmon*",
		When:       "host.hw.other is on and there is such a sensor",
	},
	hwOtherSupply: {
		Metric: otlp.Metric{Name: "hw.power_supply.state", Unit: "1", Instrument: otlp.Gauge, Double: true,
			Description: "Every other number of a power supply or battery, in the driver's unit, which is mostly a millionth."},
		Attributes: "hw.id; hw.power_supply.field=<attribute>",
		Source:     "/sys/class/power_supply/*",
		When:       "host.hw.other is on and there is a power supply",
	},
}

// hw is the scraper of sensors. Some take milliseconds to answer, so they are asked once an
// interval of their own, and a scrape in between repeats what they said.
type hw struct {
	h       *Host
	cfg     HW
	classes []directory // whose names tell that sensors came or went
	sensors []hwSensor  // in the order of their metrics
	asked   bool
	askedAt uint64
	small   []byte
}

// hwSensor is a file with a number.
type hwSensor struct {
	metric int
	path   []byte
	unit   float64 // how much of the file's unit is one of the metric's
	attrs  []byte

	v   float64
	has bool

	// Of counters.
	raw, sum uint64
	size     uint64 // of the counter: it goes on with 0 after that; 0 = unknown
	start    uint64 // 0 = the machine's
	counted  bool
}

func newHW(h *Host, cfg *Config) scraper {
	s := &hw{h: h, cfg: cfg.HW, small: make([]byte, 64)}
	for _, class := range []string{"/class/hwmon", "/class/thermal", "/class/powercap", "/class/power_supply", "/devices/system/edac/mc", "/class/nvme"} {
		s.classes = append(s.classes, newDirectory(h.sys+class))
	}
	return s
}

func (s *hw) close() {
	for i := range s.classes {
		s.classes[i].close()
	}
	s.asked = false
}

func (s *hw) scrape(p *series.Points, now uint64) (err error) {
	if !s.asked || now-s.askedAt >= uint64(s.cfg.Interval) || now < s.askedAt {
		err = s.ask(now)
	}
	boot := p.Start
	for i := range s.sensors {
		q := &s.sensors[i]
		switch {
		case !q.has:
		case hwMetrics[q.metric].Instrument == otlp.Counter:
			if p.Start = boot; q.start != 0 {
				p.Start = q.start
			}
			if hwMetrics[q.metric].Double {
				p.Float(q.metric, q.attrs, float64(q.sum)/q.unit)
			} else {
				p.Int(q.metric, q.attrs, q.sum)
			}
		case hwMetrics[q.metric].Double:
			p.Float(q.metric, q.attrs, q.v)
		default:
			p.Int(q.metric, q.attrs, uint64(max(q.v, 0)))
		}
	}
	p.Start = boot
	return err
}

// ask reads all sensors, having looked for new ones.
func (s *hw) ask(now uint64) error {
	before := s.askedAt // 0: never
	if !s.asked {
		before = 0
	}
	changed := !s.asked
	var errs error
	for i := range s.classes {
		other, err := s.classes[i].changed()
		changed = changed || other
		if err != nil {
			errs = errors.Join(errs, err)
		}
	}
	if changed {
		s.discover()
	}
	s.asked, s.askedAt = true, now
	for i := range s.sensors {
		q := &s.sensors[i]
		b, errno := kernel.ReadSmall(q.path, s.small) // ENODATA, EIO: a sensor without power; EACCES: energy
		b, minus := bytes.CutPrefix(b, []byte("-"))
		n, _, ok := kernel.Number(b)
		if q.has = errno == 0 && ok; !q.has {
			continue
		}
		if q.v = float64(n) / q.unit; minus {
			q.v = -q.v
		}
		q.count(n, before)
	}
	return errs
}

// count takes in the number of a counter.
func (q *hwSensor) count(n, before uint64) {
	switch {
	case !q.counted:
		q.sum = n
	case n >= q.raw:
		q.sum += n - q.raw
	case q.size >= q.raw && q.size > 0:
		q.sum += n + q.size - q.raw
	default: // was set to 0
		q.sum, q.start = n, before
	}
	q.raw, q.counted = n, true
}
