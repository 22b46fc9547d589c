package export

import (
	"fmt"
	"net/url"
	"strings"
	"sync"

	"stint/export/otlp"
)

// Prometheus takes OTLP metrics (storage/remote/write_handler.go, web/api/v1), with habits of its own: it makes
// labels of the attributes of points alone, so that without help two pods with the same metric are
// one series and all but the first are lost with status 200; it throws a whole request away for
// one bad point; and its errors are plain text.

// isPrometheus says whether a URL is that of Prometheus' OTLP receiver, or of what has the same API.
func isPrometheus(rawURL string) bool {
	u, err := url.Parse(rawURL)
	return err == nil && strings.HasSuffix(strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/v1/metrics"), "/api/v1/otlp")
}

// identity is what makes two resources different: these attributes become labels. The order of
// instances is from the smallest entity to the largest.
var (
	identity = map[string]bool{
		"k8s.pod.uid":                    true, // and k8s.KIND.name of every kind
		"k8s.node.system_container.name": true, "host.name": true, "container.id": true, "container.name": true, "systemd.unit.name": true,
		"process.pid": true, "process.executable.name": true,
	}
	instances = []string{"container.id", "k8s.pod.uid", "k8s.node.name", "host.name"}
)

// promoters are kept for their memory.
var promoters = sync.Pool{New: func() any {
	return &promoter{Promoter: otlp.Promoter{Keys: identity, Kinds: true, Service: "stint-agent", Instance: instances}}
}}

// promoter rewrites requests for Prometheus.
type promoter struct {
	otlp.Promoter
	whole, out []byte
}

// promote gives the request with the identity of its resources on every point. The bytes are
// p's until its next use.
func (p *promoter) promote(r *request) ([]byte, error) {
	p.whole = r.appendTo(p.whole[:0])
	var err error
	if p.out, err = p.Append(p.out[:0], p.whole); err != nil {
		return nil, fmt.Errorf("the identity of resources can't be put on points: %w", err)
	}
	return p.out, nil
}

// byPrometheus looks into the text of an answer that v was made of by its status code. A text
// that is not known means what its code means.
func byPrometheus(v Verdict, code int, text string) Verdict {
	switch code {
	case 400:
		for sign, reason := range map[string]string{
			"out of order": "out_of_order", "out of bounds": outOfBounds, "too old": tooOld, "duplicate sample": "duplicate_sample",
		} {
			if strings.Contains(text, sign) {
				v.Reason = reason
			}
		}
	case 500:
		if v.Kind, v.Reason = Again, ""; strings.Contains(text, "temporality") { // all else is trouble of its own: a full disk, say
			v.Kind, v.Reason = Split, invalid
		}
	}
	return v
}

// gzipOnly says whether an answer means that the server does not know the compression.
func gzipOnly(code int, text string) bool {
	return code == 400 && strings.Contains(text, "unsupported compression")
}
