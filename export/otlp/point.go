package otlp

import (
	"encoding/binary"
	"math"
)

// EncodedPoint is a number point of encoded metrics, as [Series] writes them.
type EncodedPoint struct {
	Metric      []byte // the metric's name
	Attrs       []byte // as encoded by AppendAttrs(…, AttrsOfPoint, …)
	Start, Time uint64 // ns since 1970; Start is 0 where there is none
	Value       float64
}

// EachPoint calls do for every number point in repeated metrics fields. Framing that is broken
// ends it.
func EachPoint(metrics []byte, do func(EncodedPoint)) {
	for len(metrics) > 0 {
		m, rest, err := nextField(metrics)
		if err != nil {
			return
		}
		metrics = rest
		eachPointOf(m.val, do)
	}
}

// eachPointOf walks one Metric message.
func eachPointOf(metric []byte, do func(EncodedPoint)) {
	var name []byte
	for len(metric) > 0 {
		f, rest, err := nextField(metric)
		if err != nil {
			return
		}
		metric = rest
		switch f.number {
		case 1:
			name = f.val
		case dataGauge, dataSum:
			for data := f.val; len(data) > 0; {
				p, rest, err := nextField(data)
				if err != nil {
					return
				}
				data = rest
				if p.number == 1 {
					do(numberPoint(name, p.val))
				}
			}
		}
	}
}

// EachPair calls do for the value of each number point in repeated metrics fields, with that of the
// point at the same place in last. It is for series that were patched since: false, and no call
// counts, unless the two differ in times and values only.
func EachPair(last, now []byte, do func(last, now float64)) bool {
	if len(last) != len(now) {
		return false
	}
	alike, end := true, 0 // of the point before
	for rest := now; len(rest) > 0 && alike; {
		m, after, err := nextField(rest)
		if err != nil {
			return false
		}
		rest = after
		for metric := m.val; len(metric) > 0 && alike; {
			f, after, err := nextField(metric)
			if err != nil {
				return false
			}
			metric = after
			if f.number != dataGauge && f.number != dataSum {
				continue
			}
			for data := f.val; len(data) > 0 && alike; {
				p, after, err := nextField(data)
				if err != nil {
					return false
				}
				data = after
				if p.number != 1 {
					continue
				}
				at := cap(now) - cap(p.val)
				var a, b float64
				a, b, alike = pair(last[at:at+len(p.val)], p.val)
				alike = alike && string(last[end:at]) == string(now[end:at])
				end = at + len(p.val)
				do(a, b)
			}
		}
	}
	return alike && string(last[end:]) == string(now[end:])
}

// pair reads the values of two points as [Series] writes them: a start time or none, the time, the
// value, the attributes. ok: they differ in time and value only.
func pair(last, now []byte) (a, b float64, ok bool) {
	const fixed = 9 // a tag of one byte and a fixed64
	i := 0
	if len(now) > fixed && now[0] == 2<<3|wireFixed64 {
		i = fixed
	}
	if len(now) < i+2*fixed || string(last[:i+1]) != string(now[:i+1]) || now[i] != 3<<3|wireFixed64 {
		return 0, 0, false
	}
	i += fixed
	x, y := binary.LittleEndian.Uint64(last[i+1:]), binary.LittleEndian.Uint64(now[i+1:])
	switch now[i] {
	case 4<<3 | wireFixed64:
		a, b = math.Float64frombits(x), math.Float64frombits(y)
	case 6<<3 | wireFixed64:
		a, b = float64(int64(x)), float64(int64(y))
	default:
		return 0, 0, false
	}
	return a, b, last[i] == now[i] && string(last[i+fixed:]) == string(now[i+fixed:])
}

// numberPoint reads a NumberDataPoint whose attributes stand last.
func numberPoint(metric, b []byte) EncodedPoint {
	p := EncodedPoint{Metric: metric}
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return p
		}
		switch f.number {
		case 2:
			p.Start = f.num
		case 3:
			p.Time = f.num
		case 4:
			p.Value = math.Float64frombits(f.num)
		case 6:
			p.Value = float64(int64(f.num))
		case AttrsOfPoint:
			p.Attrs = b
			return p
		}
		b = rest
	}
	return p
}

// EncodedMetric is a gauge or sum of encoded metrics.
type EncodedMetric struct {
	Field                   []byte // the whole field of ScopeMetrics, for [EachPoint]
	Name, Description, Unit []byte
	Instrument              Instrument
}

// EachMetric calls do for every metric in repeated metrics fields. Framing that is broken ends it.
func EachMetric(metrics []byte, do func(EncodedMetric)) {
	for len(metrics) > 0 {
		f, rest, err := nextField(metrics)
		if err != nil {
			return
		}
		m := EncodedMetric{Field: metrics[:len(metrics)-len(rest)]}
		metrics = rest
		for b := f.val; len(b) > 0; {
			f, rest, err := nextField(b)
			if err != nil {
				return
			}
			switch b = rest; f.number {
			case 1:
				m.Name = f.val
			case 2:
				m.Description = f.val
			case 3:
				m.Unit = f.val
			case dataSum:
				m.Instrument = sumOf(f.val)
			}
		}
		do(m)
	}
}

// sumOf tells what kind of sum a Sum message is.
func sumOf(sum []byte) Instrument {
	temporality, monotonic := uint64(0), false
	for len(sum) > 0 {
		f, rest, err := nextField(sum)
		if err != nil {
			return UpDown
		}
		switch sum = rest; f.number {
		case 2:
			temporality = f.num
		case 3:
			monotonic = f.num != 0
		}
	}
	switch {
	case !monotonic:
		return UpDown
	case temporality == temporalityDelta:
		return DeltaCount
	}
	return Counter
}
