package journal

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Config says which entries of the systemd journal are followed.
type Config struct {
	Enabled      string   `yaml:"enabled" enum:"auto,true,false" doc:"follow the systemd journal; auto: when there is one, journalctl is found, and neither /var/log/syslog nor /var/log/messages exists, which hold the same lines"`
	Directory    string   `yaml:"directory" doc:"directory of journal files, e.g. /host/var/log/journal in a container; empty: this machine's journal"`
	Units        []string `yaml:"units" doc:"only entries of these units, e.g. [ssh, docker.service, user@*.service]; a glob stands for what matches when journalctl starts; empty: all"`
	ExcludeUnits []string `yaml:"exclude_units" doc:"globs of units whose entries are left out; stronger than units"`
	Priority     string   `yaml:"priority" enum:"emerg,alert,crit,err,warning,notice,info,debug" doc:"least important priority that is read"`
	StartAt      string   `yaml:"start_at" enum:"beginning,end" doc:"where to begin when the agent runs for the very first time; a journal may hold gigabytes of months past"`
	Fields       []string `yaml:"fields" doc:"more journal fields to send as attributes, e.g. [_CMDLINE, _BOOT_ID]; one without a name in the semantic conventions becomes journald.<name>"`
	Journalctl   string   `yaml:"journalctl" doc:"path of journalctl; empty: searched in PATH"`
}

// maxMoreFields bounds what a record may grow to.
const maxMoreFields = 64

// priorities in the order of their numbers.
var priorities = []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

// Defaults reads everything that is written from the first start on. Not what is older: it may be
// gigabytes, and servers refuse records that are days old. The OTel Collector begins there too.
func Defaults() Config {
	return Config{Enabled: "auto", Priority: "debug", StartAt: "end"}
}

// Check reports every fault at once, each under its YAML path.
func (c Config) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	oneOf := func(key, value string, of ...string) {
		if !slices.Contains(of, value) {
			fault("journald.%s: %q is not known; give one of %s", key, value, strings.Join(of, ", "))
		}
	}
	oneOf("enabled", c.Enabled, "auto", "true", "false")
	oneOf("priority", c.Priority, priorities...)
	oneOf("start_at", c.StartAt, "beginning", "end")
	if d := c.Directory; d != "" && !filepath.IsAbs(d) {
		fault("journald.directory: %q is not an absolute path; give one, e.g. /var/log/journal", d)
	}
	if j := c.Journalctl; j != "" && !filepath.IsAbs(j) {
		fault("journald.journalctl: %q is not an absolute path; give one, e.g. /usr/bin/journalctl", j)
	}
	for i, u := range c.Units {
		if u == "" || strings.ContainsAny(u, "/ \n") {
			fault("journald.units[%d]: %q is not a unit; give a name or a glob, e.g. ssh.service", i, u)
		}
	}
	for i, u := range c.ExcludeUnits {
		if _, err := path.Match(u, ""); err != nil || u == "" {
			fault("journald.exclude_units[%d]: %q is not a glob; * stands for any characters, ? for one, [a-z] for one of a range", i, u)
		}
	}
	for i, f := range c.Fields {
		if f == "" || len(f) > 64 || strings.Trim(f, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || strings.HasPrefix(f, "__") {
			fault("journald.fields[%d]: %q is not a journal field; they are written like _CMDLINE, see journalctl --fields", i, f)
		}
	}
	if n := len(c.Fields); n > maxMoreFields {
		fault("journald.fields: %d of at most %d; leave some out", n, maxMoreFields)
	}
	return errors.Join(errs...)
}

// On says whether the journal is to be followed on this machine, and why or why not.
func (c Config) On() (on bool, why string) { return c.on("/") }

func (c Config) on(root string) (bool, string) {
	if c.Enabled != "auto" {
		return c.Enabled == "true", "journald.enabled is " + c.Enabled
	}
	dirs := []string{"/var/log/journal", "/run/log/journal"}
	if c.Directory != "" {
		dirs = []string{c.Directory}
	}
	i := slices.IndexFunc(dirs, func(dir string) bool { return holdsJournal(filepath.Join(root, dir)) })
	if i < 0 {
		return false, "there is no journal in " + strings.Join(dirs, " or ")
	}
	// A directory that was named is meant, whatever else there is.
	for _, f := range []string{"/var/log/syslog", "/var/log/messages"} {
		if _, err := os.Stat(filepath.Join(root, f)); err == nil && c.Directory == "" {
			return false, f + " holds the same lines"
		}
	}
	if _, err := exec.LookPath(c.command()); err != nil {
		return false, "journalctl is not found"
	}
	return true, "there is a journal in " + dirs[i]
}

// holdsJournal says whether dir or a directory in it (one a machine) has a journal file.
func holdsJournal(dir string) bool {
	for _, pattern := range []string{"*.journal", "*/*.journal"} {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
			return true
		}
	}
	return false
}

func (c Config) command() string { return cmp.Or(c.Journalctl, "journalctl") }

// excluded says whether unit, by its full name or without .service, is left out.
func (c Config) excluded(unit string) bool {
	return slices.ContainsFunc(c.ExcludeUnits, func(glob string) bool {
		full, _ := path.Match(glob, unit)
		short, _ := path.Match(glob, strings.TrimSuffix(unit, ".service"))
		return full || short
	})
}

// filter stands for the settings that decide which entries journalctl shows: an entry that was
// read under another filter need not be there under this one.
func (c Config) filter() string {
	return strings.Join(slices.Concat([]string{c.Directory, c.Priority}, c.Units), " ")
}
