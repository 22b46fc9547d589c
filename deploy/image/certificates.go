package main

import (
	"bytes"
	"encoding/pem"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// certificates are Mozilla's roots, as PEM. They come from a module: its sum stands in go.sum, so that they are the
// same wherever the image is built, on machines that have none, too. In the image they are a file, so that they cost the
// binaries nothing and a mount may take their place. Roots that count for older certificates only are left out, since PEM
// can't say so.
func certificates() ([]byte, error) {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}
