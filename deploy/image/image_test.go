package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

var imagesDir = flag.String("images", "../../dist", "where make image has put the images")

// TestSameBytes: the same binaries give the same file, whenever and wherever it is made.
func TestSameBytes(t *testing.T) {
	var made [][]byte
	for range 2 {
		dir := t.TempDir()
		s := spec{name: "stint-agent", version: "1.2.3", revision: "abc", created: time.Unix(1764000000, 0).UTC()}
		for _, arch := range []string{"amd64", "arm64"} {
			file := filepath.Join(dir, arch)
			if err := os.WriteFile(file, bytes.Repeat([]byte(arch+" "), 100_000), 0o755); err != nil {
				t.Fatal(err)
			}
			s.binaries = append(s.binaries, binary{arch, file})
		}
		out := filepath.Join(dir, "out.tar")
		if err := write(s, out); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, b)
	}
	if !bytes.Equal(made[0], made[1]) {
		t.Error("two builds differ")
	}
}

// TestCertificates: each is one that crypto/x509 takes.
func TestCertificates(t *testing.T) {
	rest, err := certificates()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		n++
		if c, err := x509.ParseCertificate(block.Bytes); err != nil || !c.IsCA {
			t.Errorf("certificate %d: %v", n, err)
		}
	}
	if n < 80 {
		t.Errorf("only %d certificates", n)
	}
}

// platforms reads what make image has made: the images of one program by architecture.
func platforms(t *testing.T, program string) map[string]v1.Image {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(*imagesDir, program+"-*.oci.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Skip("no image: make image")
	}
	dir := t.TempDir()
	f, err := os.Open(names[len(names)-1])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpack(t, f, dir)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Errorf("%s: %v", names[0], err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("%d manifests: %v", len(manifest.Manifests), err)
	}
	if index, err = index.ImageIndex(manifest.Manifests[0].Digest); err != nil {
		t.Fatal(err)
	}
	if manifest, err = index.IndexManifest(); err != nil {
		t.Fatal(err)
	}
	images := map[string]v1.Image{}
	for _, m := range manifest.Manifests {
		if images[m.Platform.String()], err = index.Image(m.Digest); err != nil {
			t.Fatal(err)
		}
	}
	return images
}

// unpack puts a tar file into a directory.
func unpack(t *testing.T, from io.Reader, dir string) {
	t.Helper()
	r := tar.NewReader(from)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(name, 0o755)
		} else {
			var b []byte
			if b, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(name, b, os.FileMode(h.Mode).Perm()|0o200)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestImages: of both programs for both architectures, size, user, labels, and that no file can be written.
func TestImages(t *testing.T) {
	for program, want := range map[string]struct {
		user    string
		maxSize int64 // unpacked
	}{
		"stint-agent":   {"0:0", 20_000_000},
		"stint-cluster": {"65532:65532", 45_000_000},
	} {
		t.Run(program, func(t *testing.T) {
			images := platforms(t, program)
			if len(images) != 2 || images["linux/amd64"] == nil || images["linux/arm64"] == nil {
				t.Fatalf("platforms %v", images)
			}
			stateDir := stateDirs[program]
			for platform, img := range images {
				cfg, err := img.ConfigFile()
				if err != nil {
					t.Fatal(err)
				}
				if got := cfg.Config.User; got != want.user {
					t.Errorf("%s: user %q, want %q", platform, got, want.user)
				}
				if got := strings.Join(cfg.Config.Entrypoint, " "); got != "/"+program {
					t.Errorf("%s: entry point %q", platform, got)
				}
				for _, label := range []string{"title", "version", "revision", "created", "licenses"} {
					if cfg.Config.Labels["org.opencontainers.image."+label] == "" {
						t.Errorf("%s: no label %s", platform, label)
					}
				}
				files, size := map[string]string{}, int64(0)
				r := tar.NewReader(mutate.Extract(img))
				for {
					h, err := r.Next()
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					size += h.Size
					files[strings.TrimSuffix(h.Name, "/")] = fmt.Sprintf("%04o %d", h.Mode, h.Uid)
					if h.Mode&0o222 != 0 && strings.TrimSuffix(h.Name, "/") != stateDir {
						t.Errorf("%s: %s has mode %04o", platform, h.Name, h.Mode)
					}
				}
				uid, _, _ := strings.Cut(want.user, ":")
				if got := files[stateDir]; got != "0700 "+uid {
					t.Errorf("%s: %s is %s", platform, stateDir, got)
				}
				if files[program] != "0555 0" || files[caFile] != "0444 0" {
					t.Errorf("%s: files %v", platform, files)
				}
				if size > want.maxSize {
					t.Errorf("%s: %d bytes, want at most %d", platform, size, want.maxSize)
				}
				t.Logf("%s: %.1f MB unpacked", platform, float64(size)/1e6)
			}
		})
	}
}

// here is the platform that can be run.
func here() string { return "linux/" + runtime.GOARCH }
