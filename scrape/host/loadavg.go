package host

import (
	"bytes"

	"stint/scrape/kernel"
)

// loadavg is /proc/loadavg, as in "0.10 0.34 0.17 4/87 9474".
type loadavg struct {
	load    [3]float64 // over 1, 5 and 15 minutes
	threads uint64     // that exist
}

func parseLoadavg(a *loadavg, b []byte) error {
	rest, ok := b, true
	for i := range a.load {
		if a.load[i], rest, ok = kernel.Decimal(rest); !ok {
			return kernel.Malformed("/proc/loadavg", b)
		}
	}
	word, _ := kernel.Field(rest)
	_, threads, _ := bytes.Cut(word, []byte("/"))
	if a.threads, _, ok = kernel.Number(threads); !ok {
		return kernel.Malformed("/proc/loadavg", b)
	}
	return nil
}
