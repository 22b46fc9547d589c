package kubelet

import (
	"math"
	"time"
)

// psiUnit finds out in which unit the totals of pressure are told. The API says ns; the kubelet
// fills in what it is given, which by cAdvisor is the kernel's µs, and by containerd ns. Both can
// stand in one summary, for pods and for containers, and another kubelet may come at any time.
// Three things tell the units, which are a thousand apart:
//   - of a second no more than a second can be waited: what says otherwise is ns,
//   - the same of all the time since the entity began,
//   - what a total grew by since the last time, over that time, is about the share avg60.
//
// Until one of them is seen totals other than 0 are not sent: 0.1 % of the truth is not it.
type psiUnit struct {
	inSecond float64 // how many of it; 0: not known yet
}

const (
	micro = 1e6
	nano  = 1e9
)

// slack is for totals and times that are not of the same instant.
const slack = 1.1

// psiSeen is the last total of something, to compare the next one with.
type psiSeen struct {
	total, at uint64
}

// learn takes in a total of time at (ns) with its averages over 10 and 60 s in percent, of an
// entity that began then (0: unknown). It gives what the next call is to be told as last.
func (u *psiUnit) learn(last psiSeen, total, at, began uint64, avg10, avg60 float64) psiSeen {
	if began != 0 && at > began && float64(total) > slack*float64(at-began)/float64(time.Microsecond) {
		u.inSecond = nano
	}
	if last.at == 0 || at <= last.at || total < last.total {
		return psiSeen{total, at}
	}
	share := float64(total-last.total) / micro / time.Duration(at-last.at).Seconds() // if it is µs
	switch {
	case share > slack:
		u.inSecond = nano
	case share > 0 && avg60 >= 0.1 && share > avg60/100*math.Sqrt(1000):
		u.inSecond = nano
	case share > 0 && avg60 >= 0.1 && 2*avg10 >= avg60:
		// Without the second condition it may be ns of a pressure that has just ended: the
		// average falls slowly.
		u.inSecond = micro
	}
	return psiSeen{total, at}
}

// value gives a total in seconds, if that can be said.
func (u *psiUnit) value(total uint64) (seconds float64, ok bool) {
	if total == 0 {
		return 0, true
	}
	return float64(total) / u.inSecond, u.inSecond != 0
}
