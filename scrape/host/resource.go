package host

import (
	"bufio"
	"bytes"
	"os"
	"strings"

	gopsutil "github.com/shirou/gopsutil/v3/host"

	"stint/export/otlp"
)

// resource describes the machine below root. What cannot be known from there is left out:
// inside a container the files of the container's own root would tell of its image.
func resource(root, nodeName string) []otlp.KeyValue {
	var kvs []otlp.KeyValue
	add := func(key, value string) {
		if value != "" {
			kvs = append(kvs, otlp.Attr(key, value))
		}
	}
	add("host.name", HostName(root, nodeName))
	// Not gopsutil's HostID: that is the firmware's when root asks and the machine's otherwise.
	add("host.id", firstLine(root+"/etc/machine-id", root+"/var/lib/dbus/machine-id"))
	arch, _ := gopsutil.KernelArch()
	add("host.arch", semconvArch(arch))
	add("os.type", "linux")
	os := osRelease(root)
	add("os.name", os["NAME"])
	add("os.version", os["VERSION_ID"])
	add("os.description", os["PRETTY_NAME"])
	release, _ := gopsutil.KernelVersion()
	add("system.kernel.release", release)
	add("k8s.node.name", nodeName)
	return kvs
}

// HostName is the name of the machine whose root directory is root. uname(2) tells the
// reader's, which in a container is the pod's. nodeName, its name in Kubernetes or empty, is
// what is left when the machine's files are not to be seen.
func HostName(root, nodeName string) string {
	root = strings.TrimSuffix(root, "/")
	if root == "" {
		if name, err := os.Hostname(); err == nil {
			return name
		}
	}
	if name := firstLine(root + "/etc/hostname"); name != "" {
		return name
	}
	if nodeName != "" {
		return nodeName
	}
	name, _ := os.Hostname()
	return name
}

// semconvArch is the value of host.arch for what uname -m prints.
func semconvArch(machine string) string {
	switch machine {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "ppc64le":
		return "ppc64"
	}
	return machine
}

// firstLine is the first line of the first of these files that has one.
func firstLine(paths ...string) string {
	for _, path := range paths {
		b, _ := os.ReadFile(path)
		if l, _, _ := strings.Cut(string(b), "\n"); strings.TrimSpace(l) != "" {
			return strings.TrimSpace(l)
		}
	}
	return ""
}

// osRelease is os-release(5). gopsutil has its own ideas of the system's name and runs
// lsb_release to find it.
func osRelease(root string) map[string]string {
	b, err := os.ReadFile(root + "/etc/os-release")
	if err != nil {
		b, _ = os.ReadFile(root + "/usr/lib/os-release")
	}
	kvs := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		k, v, ok := strings.Cut(strings.TrimSpace(s.Text()), "=")
		if ok {
			kvs[k] = unquote(v)
		}
	}
	return kvs
}

// unquote undoes the shell's quotes.
func unquote(v string) string {
	if len(v) < 2 || v[0] != v[len(v)-1] || v[0] != '"' && v[0] != '\'' {
		return v
	}
	quote := v[0]
	v = v[1 : len(v)-1]
	if quote == '"' {
		v = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\$`, `$`, "\\`", "`").Replace(v)
	}
	return v
}
