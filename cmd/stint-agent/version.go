package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker: -X main.version=1.2.3.
var version string

// agentVersion is what the agent calls itself on the wire.
func agentVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// versionText is what "stint-agent version" prints.
func versionText() string {
	v, commit, dirty := agentVersion(), "unknown", ""
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
	return fmt.Sprintf("stint-agent %s\ncommit %s%s\n%s %s/%s\n", v, commit, dirty, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
