package state

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Values of fields that no Go type tells anything of.

// fieldText is a value as an attribute; lists and objects are none.
func fieldText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return boolText(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	}
	return "", false
}

// fieldNumber is a value as a number: texts as values say, truths, times in seconds since 1970, quantities.
func fieldNumber(v any, values map[string]float64) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case string:
		if n, ok := values[v]; ok {
			return n, true
		}
		switch v {
		case "True", "true":
			return 1, true
		case "False", "false":
			return 0, true
		}
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return float64(t.UnixMilli()) / 1000, true
		}
		if q, err := resource.ParseQuantity(v); err == nil {
			return q.AsApproximateFloat64(), true
		}
	}
	return 0, false
}

// number ends a point with its value, in as few bytes as it takes.
func (b *builder) number(id metricID, v float64) {
	if !b.all[id].Double {
		b.points = binary.AppendVarint(append(b.points, valueInt), int64(v))
		return
	}
	if milli := v * 1000; math.Abs(milli) < 1<<53 && milli == math.Trunc(milli) && float64(int64(milli))/1000 == v {
		b.points = binary.AppendVarint(append(b.points, valueMilli), int64(milli))
		return
	}
	b.points = binary.LittleEndian.AppendUint64(append(b.points, valueDouble), math.Float64bits(v))
}

// objectMeta is what rows need of an object's metadata.
func objectMeta(u *unstructured.Unstructured) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: u.GetName(), Namespace: u.GetNamespace(), UID: u.GetUID(), CreationTimestamp: u.GetCreationTimestamp()}
}
