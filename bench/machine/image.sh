#!/bin/sh
# Makes a virtual machine in a directory: image.ext4 of that size, vmlinuz, initrd. It is the
# Debian that runs here, with systemd, the packages and nothing that is not needed, out of the archives that this
# machine's apt is set up for. Takes root, mmdebstrap and e2fsprogs (apt-get install both), a
# minute or two, and twice the size.
set -eu
dir=${1:?usage: image.sh DIRECTORY SIZE PACKAGE,...}
size=${2:?usage: image.sh DIRECTORY SIZE PACKAGE,...}
packages=${3:?usage: image.sh DIRECTORY SIZE PACKAGE,...}
mkdir -p "$dir"
root=$(mktemp -d "$dir/root.XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT # /proc and /dev are mounted there meanwhile
chmod 0755 "$root"

suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
set --
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
	[ -s "$file" ] && set -- "$@" "$file"
done

# initramfs-tools would put every driver there is into the initrd, and unpacking that takes
# minutes without KVM: these are what a disk and a file system of qemu need.
mmdebstrap --quiet --mode=root --variant=minbase \
	--include=systemd,systemd-sysv,dbus,udev,kmod,linux-image-amd64,initramfs-tools,"$packages" \
	--essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"' \
	--essential-hook='echo MODULES=list >"$1/etc/initramfs-tools/conf.d/stint"' \
	--essential-hook='printf "virtio_pci\nvirtio_blk\next4\n" >"$1/usr/share/initramfs-tools/modules.d/stint"' \
	--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
	"$suite" "$root" "$@"

cp -L "$root"/boot/vmlinuz-* "$dir/vmlinuz"
cp -L "$root"/boot/initrd.img-* "$dir/initrd"
rm -rf "$root"/boot/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
rm -f "$root"/etc/resolv.conf "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/sources.list # nothing of this machine stays
echo stint-vm >"$root/etc/hostname"
: >"$root/etc/machine-id"                    # systemd makes one
printf '/dev/vda / ext4 rw 0 1\n/dev/vdb /opt/stint ext4 ro 0 0\n' >"$root/etc/fstab"
mkdir -p "$root/var/log/journal" "$root/opt/stint" "$root/etc/systemd/system/multi-user.target.wants"
# The second disk has what is tested, and what begins with it.
cat >"$root/etc/systemd/system/stint-start.service" <<'UNIT'
[Unit]
RequiresMountsFor=/opt/stint
[Service]
ExecStart=/opt/stint/start
StandardOutput=null
StandardError=journal+console
UNIT
ln -s ../stint-start.service "$root/etc/systemd/system/multi-user.target.wants/"
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

rm -f "$dir/image.ext4"
mke2fs -q -t ext4 -d "$root" "$dir/image.ext4" "$size"
