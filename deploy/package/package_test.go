// Package packages tests what make package packs.
package packages

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var dir = flag.String("packages", "", "where make package has put the packages, which it tests itself")

// packages are those of a kind.
func packages(t *testing.T, kind string) []string {
	t.Helper()
	if *dir == "" {
		t.Skip("no packages: make package")
	}
	names, err := filepath.Glob(*dir + "/*." + kind)
	if err != nil || len(names) != 2 {
		t.Fatalf("%v are no two architectures: %v", names, err)
	}
	return names
}

// TestDeb: what is in a deb, with its modes, and all of it root's.
func TestDeb(t *testing.T) {
	want := map[string]string{
		"./etc/stint/agent.yaml":                                 "0640",
		"./lib/systemd/system/stint-agent.service":               "0644",
		"./usr/bin/stint-agent":                                  "0755",
		"./usr/share/bash-completion/completions/stint-agent":    "0644",
		"./usr/share/doc/stint-agent/copyright":                  "0644",
		"./usr/share/fish/vendor_completions.d/stint-agent.fish": "0644",
		"./usr/share/man/man5/stint-agent.yaml.5.gz":             "0644",
		"./usr/share/man/man8/stint-agent.8.gz":                  "0644",
		"./usr/share/zsh/vendor-completions/_stint-agent":        "0644",
	}
	scripts := map[string]string{"preinst": "deb/preinst", "postinst": "deb/postinst", "prerm": "deb/prerm", "postrm": "deb/postrm"}
	for _, name := range packages(t, "deb") {
		members := ar(t, name)
		modes := map[string]string{}
		files := untar(t, members["data.tar.gz"], func(h *tar.Header) {
			if h.Uid != 0 || h.Gid != 0 {
				t.Errorf("%s: %s is %d:%d's", name, h.Name, h.Uid, h.Gid)
			}
			if h.Typeflag == tar.TypeReg {
				modes[h.Name] = fmt.Sprintf("%04o", h.Mode)
			}
		})
		if d := cmp.Diff(want, modes); d != "" {
			t.Errorf("%s (-want +got)\n%s", name, d)
		}
		for packed, source := range map[string]string{
			"./etc/stint/agent.yaml": "../systemd/agent.yaml", "./lib/systemd/system/stint-agent.service": "../systemd/stint-agent.service",
		} {
			if !bytes.Equal(files[packed], read(t, source)) {
				t.Errorf("%s: %s is not %s", name, packed, source)
			}
		}
		control := untar(t, members["control.tar.gz"], func(*tar.Header) {})
		for packed, source := range scripts {
			if !bytes.Equal(control["./"+packed], read(t, source)) {
				t.Errorf("%s: %s is not %s", name, packed, source)
			}
		}
		if got := string(control["./conffiles"]); got != "/etc/stint/agent.yaml\n" {
			t.Errorf("%s: conffiles %q", name, got)
		}
		arch := strings.TrimSuffix(name[strings.LastIndex(name, "_")+1:], ".deb")
		if !strings.Contains(string(control["./control"]), "\nArchitecture: "+arch+"\n") {
			t.Errorf("%s is for another architecture:\n%s", name, control["./control"])
		}
	}
}

// TestRPM: rpm's own tool, where it is, says what is in one.
func TestRPM(t *testing.T) {
	names := packages(t, "rpm")
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Skip("no rpm here")
	}
	for _, name := range names {
		for query, want := range map[string]string{
			"-qpc":        "/etc/stint/agent.yaml",
			"-qpl":        "/usr/lib/systemd/system/stint-agent.service",
			"--scripts":   "systemctl preset stint-agent.service",
			"--fileflags": "(noreplace)",
		} {
			args := []string{query, name}
			switch query {
			case "--scripts":
				args = []string{"-qp", "--scripts", name}
			case "--fileflags":
				args = []string{"-qp", "--qf", "[%{FILENAMES} %{FILEFLAGS:fflags}\n]", name}
				want = "/etc/stint/agent.yaml cn"
			}
			out, err := exec.Command("rpm", args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("rpm %v: %v, no %q in\n%s", args, err, want, out)
			}
		}
	}
}

// TestScripts: a shell takes them.
func TestScripts(t *testing.T) {
	names, err := filepath.Glob("*/p*")
	if err != nil || len(names) < 8 {
		t.Fatalf("%d scripts: %v", len(names), err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "deb/") || strings.HasPrefix(name, "rpm/") {
			if out, err := exec.Command("sh", "-n", name).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", name, err, out)
			}
		}
	}
}

// ar lists the members of a deb.
func ar(t *testing.T, name string) map[string][]byte {
	t.Helper()
	b := read(t, name)
	b, ok := bytes.CutPrefix(b, []byte("!<arch>\n"))
	if !ok {
		t.Fatalf("%s is no ar archive", name)
	}
	members := map[string][]byte{}
	for len(b) >= 60 { // ar(5): name 16, date 12, uid 6, gid 6, mode 8, size 10, end 2
		var size int
		if _, err := fmt.Sscan(string(b[48:58]), &size); err != nil || size > len(b)-60 {
			t.Fatalf("%s: header %q: %v", name, b[:60], err)
		}
		members[strings.TrimRight(string(b[:16]), " /")] = b[60 : 60+size]
		b = b[60+min(size+size%2, len(b)-60):]
	}
	return members
}

func untar(t *testing.T, b []byte, each func(*tar.Header)) map[string][]byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	files, r := map[string][]byte{}, tar.NewReader(z)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		each(h)
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
