package host

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

// discover lists the sensors. What is known of those that stay is kept.
func (s *hw) discover() {
	known := map[string]hwSensor{}
	for _, q := range s.sensors {
		known[string(q.path)] = q
	}
	s.sensors = nil
	chips := s.hwmon()
	s.thermal(chips)
	s.powercap()
	s.powerSupplies()
	if s.cfg.Detail {
		s.nvme()
	}
	if s.cfg.Other {
		s.others()
	}
	for _, mc := range names(s.h.sys+"/devices/system/edac/mc", "mc") {
		dir := s.h.sys + "/devices/system/edac/mc/" + mc
		for file, kind := range map[string]string{"/ce_count": "correctable", "/ue_count": "uncorrectable"} {
			s.add(hwErrors, dir+file, 1, attr("hw.id", mc, "hw.type", "memory", "error.type", kind)...)
		}
	}
	slices.SortStableFunc(s.sensors, func(a, b hwSensor) int {
		return cmp.Or(cmp.Compare(a.metric, b.metric), bytes.Compare(a.path, b.path))
	})
	for i := range s.sensors {
		q := &s.sensors[i]
		if k, ok := known[string(q.path)]; ok && string(k.attrs) == string(q.attrs) {
			*q = k
		}
	}
}

// add adds a sensor if it is there.
func (s *hw) add(metric int, path string, unit float64, kvs ...otlp.KeyValue) bool {
	if !exists(path) {
		return false
	}
	s.sensors = append(s.sensors, hwSensor{metric: metric, path: kernel.CString(path), unit: unit, attrs: series.Attributes(kvs...)})
	return true
}

// names lists the entries of a directory that begin with prefix, in order.
func names(dir, prefix string) (all []string) {
	entries, _ := os.ReadDir(dir) // which need not be there
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			all = append(all, e.Name())
		}
	}
	return all
}

// hwmon lists the sensors of /sys/class/hwmon (Documentation/hwmon/sysfs-interface.rst), and
// returns the names of their chips.
func (s *hw) hwmon() map[string]bool {
	chips, ids := map[string]bool{}, map[string]bool{}
	class := s.h.sys + "/class/hwmon/"
	for _, hwmon := range names(class, "hwmon") {
		dir := class + hwmon
		name := firstLine(dir+"/name", dir+"/device/name")
		chips[name] = true
		// The number of a hwmon depends on the order of loading; its device does not.
		id, supply := hwmon, false
		if device, err := filepath.EvalSymlinks(dir + "/device"); err == nil {
			id = filepath.Base(device)
			supply = filepath.Base(filepath.Dir(device)) == "power_supply"
			if name != "" {
				id = name + "-" + id
			}
		}
		if ids[id] {
			id += "-" + hwmon
		}
		ids[id] = true
		for _, file := range names(dir, "") {
			sensor, what, _ := strings.Cut(file, "_")
			kind := strings.TrimRight(sensor, "0123456789")
			if what != "input" && what != "average" || kind == sensor {
				continue
			}
			kvs := attr("hw.id", id+"/"+sensor, "hw.name", name, "hw.parent", id)
			if label := firstLine(dir + "/" + sensor + "_label"); label != "" {
				kvs = append(kvs, otlp.Attr("hw.sensor_location", label))
			}
			switch path := dir + "/" + file; {
			case kind == "temp" && what == "input":
				s.add(hwTemperature, path, 1000, kvs...)
				s.limits(dir+"/"+sensor, kvs)
			case kind == "fan" && what == "input":
				s.add(hwFanSpeed, path, 1, kvs...)
			case kind == "in" && what == "input" && s.cfg.Detail:
				s.add(hwVoltage, path, 1000, kvs...)
			case kind == "power" && !supply && (what == "input" || !exists(dir+"/"+sensor+"_input")):
				s.add(hwPower, path, 1e6, attr("hw.id", id+"/"+sensor, "hw.type", poweredBy(name))...)
			}
		}
		if s.cfg.Other && !supply { // whose numbers are those of the supply
			s.otherSensors(dir, id, name)
		}
	}
	return chips
}

func (s *hw) limits(sensor string, kvs []otlp.KeyValue) {
	if !s.cfg.Detail {
		return
	}
	for file, kind := range map[string]string{"_lcrit": "low.critical", "_min": "low.degraded", "_max": "high.degraded", "_crit": "high.critical"} {
		s.add(hwTemperatureLimit, sensor+file, 1000, append(slices.Clip(kvs), otlp.Attr("hw.limit_type", kind))...)
	}
}

// poweredBy says what a chip of that name measures the power of.
func poweredBy(chip string) string {
	switch chip {
	case "amdgpu", "i915", "nouveau", "xe":
		return "gpu"
	case "fam15h_power", "zenpower", "amd_energy":
		return "cpu"
	case "power_meter":
		return "enclosure"
	}
	return "power_supply"
}

// thermal lists thermal zones, but those whose temperature the kernel shows in hwmon, too: under
// the zone's type as name of the chip.
func (s *hw) thermal(chips map[string]bool) {
	class := s.h.sys + "/class/thermal/"
	for _, zone := range names(class, "thermal_zone") {
		kind := firstLine(class + zone + "/type")
		if !chips[strings.ReplaceAll(kind, "-", "_")] {
			s.add(hwTemperature, class+zone+"/temp", 1000, attr("hw.id", zone, "hw.name", kind)...)
		}
	}
	if !s.cfg.Detail {
		return
	}
	for _, device := range names(class, "cooling_device") {
		kvs := attr("hw.id", device, "hw.name", firstLine(class+device+"/type"))
		for file, value := range map[string]string{"/cur_state": "current", "/max_state": "maximum"} {
			s.add(hwCooling, class+device+file, 1, append(slices.Clip(kvs), otlp.Attr("hw.cooling.value", value))...)
		}
	}
}

// powercap lists the zones of running average power limit (Documentation/power/powercap).
func (s *hw) powercap() {
	class := s.h.sys + "/class/powercap/"
	for _, zone := range names(class, "intel-rapl:") {
		if s.add(hwEnergy, class+zone+"/energy_uj", 1e6, attr("hw.id", zone, "hw.type", "cpu")...) {
			size, _, _ := kernel.Number([]byte(firstLine(class + zone + "/max_energy_range_uj")))
			s.sensors[len(s.sensors)-1].size = size
		}
	}
}

func (s *hw) powerSupplies() {
	class := s.h.sys + "/class/power_supply/"
	types := map[string]string{"Battery": "battery", "UPS": "battery"}
	for _, supply := range names(class, "") {
		s.add(hwBattery, class+supply+"/capacity", 100, attr("hw.id", supply)...)
		s.add(hwPower, class+supply+"/power_now", 1e6,
			attr("hw.id", supply, "hw.type", cmp.Or(types[firstLine(class+supply+"/type")], "power_supply"))...)
	}
}

// otherSensors lists the numbers of a chip that are not reported under a name of their own.
func (s *hw) otherSensors(dir, id, chip string) {
	for _, file := range numericFiles(dir) {
		if slices.ContainsFunc(s.sensors, func(q hwSensor) bool { return string(q.path) == dir+"/"+file+"\x00" }) {
			continue
		}
		sensor, field, ok := strings.Cut(file, "_")
		if !ok { // pwm1, update_interval
			field = sensor
		}
		kvs := attr("hw.id", id+"/"+sensor, "hw.name", chip, "hw.parent", id)
		if label := firstLine(dir + "/" + sensor + "_label"); label != "" {
			kvs = append(kvs, otlp.Attr("hw.sensor_location", label))
		}
		s.add(hwOtherSensor, dir+"/"+file, 1, append(kvs, otlp.Attr("hw.sensor.field", field))...)
	}
}

// others lists the numbers of power supplies that are not reported under a name of their own.
func (s *hw) others() {
	class := s.h.sys + "/class/power_supply/"
	for _, supply := range names(class, "") {
		for _, file := range numericFiles(class + supply) {
			if file != "capacity" && file != "power_now" {
				s.add(hwOtherSupply, class+supply+"/"+file, 1, attr("hw.id", supply, "hw.power_supply.field", file)...)
			}
		}
	}
}

// nvme lists the namespaces of NVMe disks. With multipath these lie elsewhere, and what lies here
// is a path to them (nvme0c0n1), without a size.
func (s *hw) nvme() {
	class := s.h.sys + "/class/nvme/"
	for _, disk := range names(class, "nvme") {
		var kvs []otlp.KeyValue
		for _, q := range [][2]string{{"hw.model", "model"}, {"hw.serial_number", "serial"}, {"hw.firmware_version", "firmware_rev"}} {
			if v := firstLine(class + disk + "/" + q[1]); v != "" {
				kvs = append(kvs, otlp.Attr(q[0], v))
			}
		}
		for _, namespace := range names(class+disk, disk+"n") {
			s.add(hwDiskSize, class+disk+"/"+namespace+"/size", 1.0/sectorSize, append(attr("hw.id", namespace), kvs...)...)
		}
	}
}
