package process

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is what the program calls itself on the wire: what was linked in, else what Go knows.
func Version(linked string) string {
	if linked != "" {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// VersionText is what the command version prints.
func VersionText(program, linked string) string {
	v, commit, dirty := Version(linked), "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = ", changed"
			}
		}
	}
	return fmt.Sprintf("%s %s\ncommit %s%s\n%s %s/%s\n", program, v, commit, dirty, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
