package host

import (
	"bytes"

	"stint/scrape/kernel"
)

const (
	psiSome = iota
	psiFull
	psiKinds

	psiWindows = 3 // 10, 60 and 300 s
)

// psi is a file of /proc/pressure, with lines as in
// "some avg10=17.48 avg60=8.70 avg300=7.12 total=2766262602".
type psi struct {
	avg   [psiKinds][psiWindows]float64 // per cent
	total [psiKinds]uint64              // µs
	has   [psiKinds]bool
}

func parsePSI(s *psi, path string, b []byte) error {
	s.has = [psiKinds]bool{}
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		word, rest := kernel.Field(l)
		kind := psiSome
		switch string(word) {
		case "some":
		case "full":
			kind = psiFull
		default:
			s.has = [psiKinds]bool{}
			return kernel.Malformed(path, l)
		}
		ok := true
		for i := 0; i < psiWindows && ok; i++ {
			word, rest = kernel.Field(rest)
			_, v, _ := bytes.Cut(word, []byte("="))
			s.avg[kind][i], _, ok = kernel.Decimal(v)
		}
		if ok {
			word, _ = kernel.Field(rest)
			v, found := bytes.CutPrefix(word, []byte("total="))
			s.total[kind], _, ok = kernel.Number(v)
			ok = ok && found
		}
		if !ok {
			s.has = [psiKinds]bool{}
			return kernel.Malformed(path, l)
		}
		s.has[kind] = true
	}
	return nil
}
