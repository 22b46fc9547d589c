package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// spec is what an image is made of.
type spec struct {
	name, version, revision string
	user                    int
	created                 time.Time
	binaries                []binary
}

type binary struct{ arch, file string }

const caFile = "etc/ssl/certs/ca-certificates.crt" // where crypto/x509 looks first

// stateDirs are where the programs keep their state unless they are told otherwise. A volume takes owner and mode from there.
var stateDirs = map[string]string{"stint-agent": "var/lib/stint", "stint-cluster": "var/lib/stint-cluster"}

// write makes the image and puts its OCI layout into a tar file.
func write(s spec, out string) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, b := range s.binaries {
		img, err := platform(s, b)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: b.arch}},
		})
	}
	dir, err := os.MkdirTemp(filepath.Dir(out), ".oci")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	names := map[string]string{
		"org.opencontainers.image.ref.name": s.version,
		// A kubelet asks for the whole name; ctr image import keeps this one as it is.
		"io.containerd.image.name": "docker.io/library/" + s.name + ":" + s.version,
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(names)); err != nil {
		return err
	}
	return archive(dir, out, s.created)
}

// platform is the image for one architecture: one layer.
func platform(s spec, b binary) (v1.Image, error) {
	files, err := root(s, b)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(9))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.Append(base, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: s.created}, CreatedBy: "make image"}})
	if err != nil {
		return nil, err
	}
	was, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cfg := was.DeepCopy()
	cfg.OS, cfg.Architecture, cfg.Created = "linux", b.arch, v1.Time{Time: s.created}
	uid := strconv.Itoa(s.user)
	cfg.Config = v1.Config{
		User:       uid + ":" + uid,
		Entrypoint: []string{"/" + s.name},
		WorkingDir: "/",
		Labels: map[string]string{
			"org.opencontainers.image.title":    s.name,
			"org.opencontainers.image.version":  s.version,
			"org.opencontainers.image.revision": s.revision,
			"org.opencontainers.image.created":  s.created.Format(time.RFC3339),
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return mutate.ConfigFile(img, cfg)
}

// root is the file system as a tar file. Nobody may write to it, but the user to its state.
func root(s spec, b binary) ([]byte, error) {
	program, err := os.ReadFile(b.file)
	if err != nil {
		return nil, err
	}
	ca, err := certificates()
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(name string, mode fs.FileMode, owner int, content []byte) {
		h := &tar.Header{Name: name, Mode: int64(mode.Perm()), Uid: owner, Gid: owner, ModTime: s.created, Format: tar.FormatPAX, Typeflag: tar.TypeReg, Size: int64(len(content))}
		if content == nil {
			h.Typeflag = tar.TypeDir
		}
		if err == nil {
			err = w.WriteHeader(h)
		}
		if err == nil {
			_, err = w.Write(content)
		}
	}
	for _, dir := range []string{"etc/", "etc/ssl/", "etc/ssl/certs/", "etc/stint/", "var/", "var/lib/"} {
		add(dir, 0o555, 0, nil)
	}
	add(stateDirs[s.name]+"/", 0o700, s.user, nil)
	add(caFile, 0o444, 0, ca)
	add(s.name, 0o555, 0, program)
	if err != nil {
		return nil, fmt.Errorf("layer of %s: %w", b.file, err)
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// archive puts a directory into a tar file, in the order of its names.
func archive(dir, out string, at time.Time) (err error) {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	w := tar.NewWriter(f)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err != nil || name == "." {
			return err
		}
		h := &tar.Header{Name: name, Mode: 0o444, ModTime: at, Format: tar.FormatPAX, Typeflag: tar.TypeReg}
		if d.IsDir() {
			h.Name, h.Mode, h.Typeflag = name+"/", 0o755, tar.TypeDir
			return w.WriteHeader(h)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		h.Size = int64(len(content))
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err != nil {
		return err
	}
	return w.Close()
}
