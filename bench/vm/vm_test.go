// Package vm installs the agent's package on a Debian with nothing but cgroup v2, in a virtual machine, and checks
// the service from the installation to the removal. make test-vm builds all and runs it.
package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var imageDir = flag.String("image", "../bin/vm", "directory of image.ext4, vmlinuz, initrd, checks and the packages")

// machineLimit is for two boots, checks and end, by software emulation on a busy machine.
const machineLimit = 20 * time.Minute

func TestVM(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a virtual machine: make test-vm")
	}
	dir := t.TempDir()
	disk := secondDisk(t, dir)
	results, console := filepath.Join(dir, "results"), filepath.Join(dir, "console")
	image := func(name string) string { return filepath.Join(*imageDir, name) }
	ctx, cancel := context.WithTimeout(t.Context(), machineLimit)
	defer cancel()
	begin := time.Now()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-machine", "q35", "-accel", "tcg", "-cpu", "max", // KVM in a virtual machine may be there and hang
		"-smp", "2", "-m", "1024", "-display", "none", "-nic", "none", "-monitor", "none",
		"-kernel", image("vmlinuz"), "-initrd", image("initrd"),
		// Debian's kernel counts no pressure unless it is told to.
		"-append", "root=/dev/vda rw console=ttyS0 psi=1 systemd.unified_cgroup_hierarchy=1 systemd.show_status=0 loglevel=4 panic=-1",
		"-drive", "if=virtio,format=raw,snapshot=on,file="+image("image.ext4"), // it stays as it is
		"-drive", "if=virtio,format=raw,readonly=on,file="+disk,
		"-serial", "file:"+console, "-serial", "file:"+results)
	out, err := cmd.CombinedOutput()
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(console)
			t.Logf("qemu: %s\nconsole:\n%s", out, text[max(len(text)-8000, 0):])
		}
	})
	if err != nil {
		t.Errorf("qemu, after %v: %v", time.Since(begin).Round(time.Second), err)
	}
	text, err := os.ReadFile(results)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for line := range bytes.Lines(text) {
		var c struct{ Name, Fault, Detail string }
		if err := json.Unmarshal(bytes.TrimSpace(line), &c); err != nil {
			t.Errorf("result %q: %v", line, err)
			continue
		}
		found[c.Name] = true
		if c.Fault != "" {
			t.Errorf("%s: %s", c.Name, c.Fault)
		} else {
			t.Logf("%s: %s", c.Name, c.Detail)
		}
	}
	for _, name := range []string{"cgroup v2", "install", "security", "reload", "host", "journal", "file", "container", "units", "kill", "reboot", "stop", "upgrade", "remove", "purge", "end"} {
		if !found[name] {
			t.Errorf("the machine did not tell of the check %s", name)
		}
	}
	t.Logf("%v, by software emulation", time.Since(begin).Round(time.Second))
}

// secondDisk makes a disk with two versions of the package, and the checks.
func secondDisk(t *testing.T, dir string) string {
	t.Helper()
	files := filepath.Join(dir, "files")
	if err := os.Mkdir(files, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"checks": "checks", "old.deb": "old/stint-agent_0.0.1_amd64.deb", "new.deb": "new/stint-agent_0.0.2_amd64.deb"} {
		b, err := os.ReadFile(filepath.Join(*imageDir, from))
		if err != nil {
			t.Fatalf("%v: make test-vm builds it", err)
		}
		if err := os.WriteFile(filepath.Join(files, name), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	disk := filepath.Join(dir, "disk.ext4")
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-d", files, disk, "64M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v: %s", err, out)
	}
	return disk
}
