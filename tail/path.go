package tail

import (
	"strconv"
	"strings"
)

// pod is what the name of a directory under /var/log/pods says:
// <namespace>_<pod>_<uid> (kubernetes, pkg/kubelet/kuberuntime/helpers.go BuildPodLogsDirectory).
// A static pod's uid is its configuration hash.
type pod struct{ namespace, name, uid string }

// parsePod takes the directory's name apart. Neither namespaces nor pod names hold an
// underscore.
func parsePod(dir string) (p pod, ok bool) {
	var rest string
	p.namespace, rest, _ = strings.Cut(dir, "_")
	p.name, p.uid, _ = strings.Cut(rest, "_")
	return p, p.namespace != "" && p.name != "" && p.uid != "" && !strings.Contains(p.uid, "_")
}

// parseLogName takes apart the name of a file in a container's directory:
// <restart>.log, <restart>.log.<YYYYMMDD-HHMMSS> or the latter with .gz. stamp is "" for the
// live file.
func parseLogName(name string) (restart int, stamp string, gz, ok bool) {
	number, rest, found := strings.Cut(name, ".log")
	restart, err := strconv.Atoi(number)
	if !found || err != nil || restart < 0 || number[0] == '+' {
		return 0, "", false, false
	}
	if rest == "" {
		return restart, "", false, true
	}
	stamp, gz = strings.CutSuffix(rest, ".gz")
	const layout = ".YYYYMMDD-HHMMSS"
	if len(stamp) != len(layout) || stamp[0] != '.' || stamp[9] != '-' {
		return 0, "", false, false
	}
	stamp = stamp[1:]
	for i := range len(stamp) {
		if i != 8 && stamp[i]-'0' > 9 {
			return 0, "", false, false
		}
	}
	return restart, stamp, gz, true
}
