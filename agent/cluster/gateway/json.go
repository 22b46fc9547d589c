package gateway

import "stint/export/otlp"

// fromJSON gives the request that a text in JSON is. The text's slab is released. Protobuf is shorter, but for
// lists of numbers.
func (g *Gateway) fromJSON(signal otlp.Signal, text *otlp.Slab, may func(n int) bool) (*otlp.Slab, error) {
	defer text.Release()
	for room := len(text.Buf); ; {
		if !may(room) {
			return nil, errQuota
		}
		slab := g.pool.TryGet(room)
		if slab == nil {
			return nil, errNoMemory
		}
		b, err := otlp.ParseJSON(slab.Buf, signal, text.Buf)
		switch {
		case err != nil:
			slab.Release()
			return nil, err
		case len(b) > g.cfg.MaxRequestBytes:
			slab.Release()
			return nil, errLarge
		case len(b) <= cap(slab.Buf):
			slab.Buf = append(slab.Buf, b...) // in place, as a rule
			return slab, nil
		}
		slab.Release()
		room = len(b)
	}
}
