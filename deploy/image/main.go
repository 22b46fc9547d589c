// Command image writes an OCI image of a static binary for several platforms as one tar file, without a
// container engine: what podman load, skopeo copy oci-archive: and ctr image import take. The same binaries give the
// same bytes. With -roots it only writes the certificates, for the Dockerfile beside it.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

func main() {
	var s spec
	flag.StringVar(&s.name, "name", "", "of the program and of the image")
	flag.StringVar(&s.version, "version", "", "tag and label")
	flag.StringVar(&s.revision, "revision", "", "commit, a label")
	flag.IntVar(&s.user, "user", 65532, "uid and gid")
	created := flag.Int64("created", 0, "Unix time of all files and of the image")
	out := flag.String("out", "", "tar file to write")
	roots := flag.String("roots", "", "only write the root certificates to this file")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: image -name NAME -version V -revision COMMIT -user UID -created UNIX -out FILE ARCH=BINARY...")
		flag.PrintDefaults()
	}
	flag.Parse()
	s.created = time.Unix(*created, 0).UTC()
	if err := run(s, *out, *roots, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(s spec, out, roots string, binaries []string) error {
	if roots != "" {
		pem, err := certificates()
		if err != nil {
			return err
		}
		return os.WriteFile(roots, pem, 0o444)
	}
	for _, b := range binaries {
		arch, file, ok := strings.Cut(b, "=")
		if !ok {
			return fmt.Errorf("%q is not ARCH=BINARY", b)
		}
		s.binaries = append(s.binaries, binary{arch, file})
	}
	if s.name == "" || out == "" || len(s.binaries) == 0 {
		return fmt.Errorf("-name, -out and a binary are needed")
	}
	return write(s, out)
}
