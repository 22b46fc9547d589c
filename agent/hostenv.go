package agent

import (
	"path"
	"slices"
	"strings"
)

// hostVariables are those with which OpenTelemetry's host metrics and gopsutil are told where a
// container sees the host's directories, and what these are called below the root directory.
var hostVariables = []struct{ name, dir string }{
	{"HOST_ROOT", ""}, {"HOST_PROC", "/proc"}, {"HOST_SYS", "/sys"}, {"HOST_ETC", "/etc"}, {"HOST_VAR", "/var"}, {"HOST_RUN", "/run"}, {"HOST_DEV", "/dev"},
}

// rootFromHost is the root directory that those variables point to, and where from; empty if none
// is set. The agent has one root for all of the host's directories: where the variables have
// several, or other names for them, that is a note, and they are not used.
func rootFromHost(env func(string) string) (root, from, note string) {
	var set, roots []string
	for _, v := range hostVariables {
		value := strings.TrimSpace(env(v.name))
		if value == "" {
			continue
		}
		set = append(set, v.name+"="+value)
		above, ok := strings.CutSuffix(path.Clean(value), v.dir)
		if !ok || !path.IsAbs(value) {
			return "", "", set[len(set)-1] + " is set and not used: it is no absolute path that ends in " + v.dir + "; set scrape.root_path"
		}
		if above == "" {
			above = "/"
		}
		if !slices.Contains(roots, above) {
			roots = append(roots, above)
		}
	}
	switch len(roots) {
	case 0:
		return "", "", ""
	case 1:
		return roots[0], "env " + strings.Join(set, ", "), ""
	}
	return "", "", strings.Join(set, ", ") + " are set and not used: they are of several root directories; set scrape.root_path"
}
