package process

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// commit is set by the linker where Go itself does not say it, so that a build has the same bytes in a clone, a worktree and a
// container: -X stint/agent/process.commit=SHA.
var commit string

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
	of, dirty := commit, ""
	if of == "" {
		of, dirty = stamped()
	}
	return fmt.Sprintf("%s %s\ncommit %s%s\n%s %s/%s\n", program, Version(linked), of, dirty, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// stamped is the commit that Go has found.
func stamped() (commit, dirty string) {
	commit = "unknown"
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
	return commit, dirty
}
