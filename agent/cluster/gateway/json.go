package gateway

import "stint/export/otlp"

// fromJSON gives the request that a text in JSON is. The text's slab is released.
func (g *Gateway) fromJSON(signal otlp.Signal, text *otlp.Slab) (*otlp.Slab, error) {
	defer text.Release()
	b, err := otlp.ParseJSON(nil, signal, text.Buf)
	if err != nil {
		return nil, err
	}
	if len(b) > g.cfg.MaxRequestBytes {
		return nil, errLarge
	}
	slab := g.pool.TryGet(len(b))
	if slab == nil {
		return nil, errNoMemory
	}
	slab.Buf = append(slab.Buf, b...)
	return slab, nil
}
