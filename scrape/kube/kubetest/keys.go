//go:build cluster

package kubetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// writeKeys makes a certificate authority, the API server's certificate and the key that signs
// tokens of service accounts, and writes them into dir. It returns the authority's certificate.
func writeKeys(dir string) (ca []byte, err error) {
	write := func(name, kind string, der []byte) {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
		}
	}
	key := func(name string) *ecdsa.PrivateKey {
		k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		der, e := x509.MarshalECPrivateKey(k)
		if err == nil {
			err = e
		}
		write(name, "EC PRIVATE KEY", der)
		return k
	}
	sign := func(name string, c, parent *x509.Certificate, public, by *ecdsa.PrivateKey) []byte {
		der, e := x509.CreateCertificate(rand.Reader, c, parent, &public.PublicKey, by)
		if err == nil {
			err = e
		}
		write(name, "CERTIFICATE", der)
		return der
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubetest"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kube-apiserver"}, NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	rootKey := key("ca.key")
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sign("ca.crt", root, root, rootKey, rootKey)})
	sign("server.crt", server, root, key("server.key"), rootKey)
	key("sa.key")
	return ca, err
}
