package otlp

import (
	"encoding/binary"
	"math"
)

// AttrsOfPoint is the field number for [AppendAttrs] in a number or summary point.
const AttrsOfPoint = 7

// AttrsOfHistogram is the same in a HistogramDataPoint, which numbers it otherwise.
const AttrsOfHistogram = 9

// attrsOfExpHist is the same in an ExponentialHistogramDataPoint.
const attrsOfExpHist = 1

// attrsOfData is the number of attributes in the points of a Metric's data field; 0 where it has none.
func attrsOfData(field int) int {
	switch field {
	case dataGauge, dataSum, dataSummary:
		return AttrsOfPoint
	case dataHistogram:
		return AttrsOfHistogram
	case dataExpHist:
		return attrsOfExpHist
	}
	return 0
}

// Instrument is the data a metric carries.
type Instrument uint8

const (
	Gauge      Instrument = iota
	Counter               // cumulative monotonic Sum
	UpDown                // cumulative non-monotonic Sum
	DeltaCount            // delta monotonic Sum
)

// Field numbers of Metric.data.
const (
	dataGauge     = 5
	dataSum       = 7
	dataHistogram = 9
	dataExpHist   = 10
	dataSummary   = 11
)

const (
	temporalityDelta      = 1
	temporalityCumulative = 2
)

// Metric names a metric and says what its points are (metrics.v1.Metric).
type Metric struct {
	Name, Description string
	Unit              string // UCUM
	Instrument        Instrument
	Double            bool // points are doubles, else int64
}

// NumberPoint is one value of a gauge or a sum. Start is left out when 0.
type NumberPoint struct {
	Attrs       []byte // encoded by AppendAttrs(…, AttrsOfPoint, …)
	Start, Time uint64 // ns since 1970
	Int         int64
	Double      float64
}

// HistogramPoint is one cumulative histogram value.
type HistogramPoint struct {
	Attrs       []byte // encoded by AppendAttrs(…, AttrsOfHistogram, …)
	Start, Time uint64
	Count       uint64
	Sum         float64
	Bounds      []float64 // upper bounds without +Inf
	Buckets     []uint64  // len(Bounds)+1 counts, each of its own bucket only
}

// SummaryPoint is one summary value.
type SummaryPoint struct {
	Attrs       []byte // encoded by AppendAttrs(…, AttrsOfPoint, …)
	Start, Time uint64
	Count       uint64
	Sum         float64
	Quantiles   []Quantile
}

// Quantile is the value at a quantile between 0 and 1.
type Quantile struct{ Quantile, Value float64 }

// AppendMetric appends m with its points as one metrics field of ScopeMetrics.
func AppendMetric(dst []byte, m *Metric, points []NumberPoint) []byte {
	return appendMetric(dst, m, m.dataField(), func(dst []byte) []byte {
		for i := range points {
			p := &points[i]
			bits := uint64(p.Int)
			if m.Double {
				bits = math.Float64bits(p.Double)
			}
			dst = appendMessage(dst, 1, func(dst []byte) []byte {
				if p.Start != 0 {
					dst = appendFixed64(dst, 2, p.Start)
				}
				dst = appendFixed64(dst, 3, p.Time)
				return append(appendFixed64(dst, m.valueField(), bits), p.Attrs...)
			})
		}
		return m.appendSum(dst)
	})
}

// AppendHistogram appends m with cumulative histogram points as one metrics field.
func AppendHistogram(dst []byte, m *Metric, points []HistogramPoint) []byte {
	return appendMetric(dst, m, dataHistogram, func(dst []byte) []byte {
		for i := range points {
			p := &points[i]
			dst = appendMessage(dst, 1, func(dst []byte) []byte {
				if p.Start != 0 {
					dst = appendFixed64(dst, 2, p.Start)
				}
				dst = appendFixed64(dst, 3, p.Time)
				dst = appendFixed64(dst, 4, p.Count)
				dst = appendDouble(dst, 5, p.Sum)
				dst = binary.AppendUvarint(appendTag(dst, 6, wireLen), uint64(8*len(p.Buckets)))
				for _, n := range p.Buckets {
					dst = binary.LittleEndian.AppendUint64(dst, n)
				}
				dst = binary.AppendUvarint(appendTag(dst, 7, wireLen), uint64(8*len(p.Bounds)))
				for _, b := range p.Bounds {
					dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(b))
				}
				return append(dst, p.Attrs...)
			})
		}
		return appendVarint(dst, 2, temporalityCumulative)
	})
}

// AppendSummary appends m with summary points as one metrics field.
func AppendSummary(dst []byte, m *Metric, points []SummaryPoint) []byte {
	return appendMetric(dst, m, dataSummary, func(dst []byte) []byte {
		for i := range points {
			p := &points[i]
			dst = appendMessage(dst, 1, func(dst []byte) []byte {
				if p.Start != 0 {
					dst = appendFixed64(dst, 2, p.Start)
				}
				dst = appendFixed64(dst, 3, p.Time)
				dst = appendFixed64(dst, 4, p.Count)
				dst = appendDouble(dst, 5, p.Sum)
				for _, q := range p.Quantiles {
					dst = appendMessage(dst, 6, func(dst []byte) []byte {
						return appendDouble(appendDouble(dst, 1, q.Quantile), 2, q.Value)
					})
				}
				return append(dst, p.Attrs...)
			})
		}
		return dst
	})
}

func appendMetric(dst []byte, m *Metric, data int, body func([]byte) []byte) []byte {
	return appendMessage(dst, 2, func(dst []byte) []byte {
		return appendMessage(appendHead(dst, m), data, body)
	})
}

func (m *Metric) dataField() int {
	if m.Instrument == Gauge {
		return dataGauge
	}
	return dataSum
}

// valueField is the field of NumberDataPoint.value: as_double 4, as_int 6.
func (m *Metric) valueField() int {
	if m.Double {
		return 4
	}
	return 6
}

// appendSum appends the fields of Sum that follow its points.
func (m *Metric) appendSum(dst []byte) []byte {
	if m.Instrument == Gauge {
		return dst
	}
	t := uint64(temporalityCumulative)
	if m.Instrument == DeltaCount {
		t = temporalityDelta
	}
	dst = appendVarint(dst, 2, t)
	if m.Instrument != UpDown {
		dst = appendVarint(dst, 3, 1)
	}
	return dst
}

// appendHead appends what stands in a Metric before its points: name, description, unit.
func appendHead(dst []byte, m *Metric) []byte {
	dst = appendString(dst, 1, m.Name)
	if m.Description != "" {
		dst = appendString(dst, 2, m.Description)
	}
	if m.Unit != "" {
		dst = appendString(dst, 3, m.Unit)
	}
	return dst
}
