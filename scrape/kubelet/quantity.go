package kubelet

import (
	"math"
	"strconv"
	"strings"
)

// quantity is the number that a Kubernetes quantity stands for: "250m", "64Mi", "1e3", "2".
// 0 stands for what is no quantity, or negative.
// https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
func quantity(s string) float64 {
	number, scale := s, 1.0
	for suffix, exp := range binarySuffix {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			number, scale = rest, math.Ldexp(1, exp)
		}
	}
	if number == s && s != "" {
		if exp, ok := decimalSuffix[s[len(s)-1]]; ok {
			number = s[:len(s)-1] + exp // the decimal number itself, so that 7m is 0.007 to the last bit
		}
	}
	// ParseFloat knows more spellings than Kubernetes does: inf, nan, 0x1p3, 1_000.
	if strings.Trim(number, "+-.0123456789eE") != "" {
		return 0
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f < 0 {
		return 0
	}
	if f *= scale; math.IsInf(f, 0) {
		return 0
	}
	return f
}

var binarySuffix = map[string]int{"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}

var decimalSuffix = map[byte]string{'n': "e-9", 'u': "e-6", 'm': "e-3", 'k': "e3", 'M': "e6", 'G': "e9", 'T': "e12", 'P': "e15", 'E': "e18"}

// wholeBytes is a quantity of memory, rounded up as Kubernetes does.
func wholeBytes(s string) int64 {
	return int64(min(math.Ceil(quantity(s)), 1<<62))
}
