package otlp

import "math"

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
