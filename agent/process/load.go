package process

import (
	"path/filepath"
	"strings"

	"stint/agent/config"
)

// LoadArgs is everything a configuration is read from.
type LoadArgs struct {
	File string   // a YAML file; "" for none
	Set  []string // path.to.key=value, in order
	Env  []string // as os.Environ gives it
}

// Report tells what Load found: Faults if the configuration cannot be used, and where each value is from.
type Report struct {
	Faults config.Faults
	Notes  []string // what is no fault and yet may surprise
	Origin func(path string) config.Origin
}

// Getenv is the value of a variable, or empty.
func (a LoadArgs) Getenv(name string) string {
	for _, e := range a.Env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

// UserStateDir is where an ordinary user, who cannot write the default directory, keeps state
// instead (XDG Base Directory Specification); empty: nowhere.
func UserStateDir(stateDir string, env func(string) string) string {
	name := filepath.Base(stateDir)
	if dir := env("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, name)
	}
	if home := env("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local/state", name)
	}
	return ""
}
