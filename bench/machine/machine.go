// Package machine starts virtual machines of the image that image.sh makes: a Debian with systemd and nothing but cgroup v2.
package machine

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Machine is what there is to say of one.
type Machine struct {
	Image  string   // directory of image.ext4, vmlinuz and initrd
	Files  string   // directory of what the machine finds in /opt/stint; start of it is run
	MiB    int      // of memory
	Kernel string   // parameters, beside those that each machine has
	Args   []string // of qemu
}

// Command is qemu, which ends when the machine is switched off. What the machine says is written to console.
func (m Machine) Command(ctx context.Context, t *testing.T, console string) *exec.Cmd {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "files.ext4")
	// Half as much again as the files take, for what the file system has of its own.
	size := strconv.FormatInt(16+bytesBelow(t, m.Files)*3/2>>20, 10) + "M"
	if out, err := exec.CommandContext(ctx, "mke2fs", "-q", "-t", "ext4", "-d", m.Files, disk, size).CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v: %s", err, out)
	}
	image := func(name string) string { return filepath.Join(m.Image, name) }
	return exec.CommandContext(ctx, "qemu-system-x86_64", append([]string{
		"-machine", "q35", "-accel", Accelerator(t, image("vmlinuz")), "-cpu", "max",
		"-smp", "2", "-m", strconv.Itoa(m.MiB), "-display", "none", "-monitor", "none",
		"-kernel", image("vmlinuz"), "-initrd", image("initrd"),
		// Debian's kernel counts no pressure unless it is told to.
		"-append", "root=/dev/vda rw console=ttyS0 psi=1 net.ifnames=0 systemd.unified_cgroup_hierarchy=1 systemd.show_status=0 loglevel=4 panic=-1 " + m.Kernel,
		"-drive", "if=virtio,format=raw,snapshot=on,file=" + image("image.ext4"), // it stays as it is
		"-drive", "if=virtio,format=raw,readonly=on,file=" + disk,
		"-serial", "file:" + console,
	}, m.Args...)...)
}

func bytesBelow(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// probeLimit is for a kernel that finds no disk: 2 s with KVM, 9 s without.
const probeLimit = 20 * time.Second

// Accelerator is kvm if a kernel gets through its start with it in time, else tcg, software emulation. That /dev/kvm is
// there does not tell: within a virtual machine it may be one that emulates the kernel's part, more slowly than qemu does, or hangs.
func Accelerator(t *testing.T, kernel string) string {
	t.Helper()
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return "tcg"
	}
	ctx, cancel := context.WithTimeout(t.Context(), probeLimit)
	defer cancel()
	// Without a disk the kernel panics, and qemu ends instead of a restart.
	out, err := exec.CommandContext(ctx, "qemu-system-x86_64", "-machine", "q35", "-accel", "kvm", "-cpu", "max", "-m", "512", "-no-reboot",
		"-display", "none", "-monitor", "none", "-nic", "none", "-kernel", kernel, "-append", "panic=-1").CombinedOutput()
	if err != nil {
		t.Logf("/dev/kvm is there, but a kernel does not start with it (%v: %s): software emulation", err, out)
		return "tcg"
	}
	return "kvm"
}
