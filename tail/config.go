package tail

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Config says which log files are followed and what one record may cost.
type Config struct {
	Containers   Containers `yaml:"containers" doc:"logs that the kubelet keeps of containers"`
	Files        []Files    `yaml:"files" doc:"other log files; a list here replaces the default list"`
	StartAt      string     `yaml:"start_at" enum:"beginning,end" doc:"where to begin in files that exist when the agent runs for the very first time; later ones are read from their beginning"`
	MaxLineBytes int        `yaml:"max_line_bytes" unit:"bytes" doc:"a longer record is cut at a rune and carries the attribute stint.truncated=true; 256 to 1048576"`
}

// Containers is the tree <root>/<namespace>_<pod>_<uid>/<container>/<restart>.log.
type Containers struct {
	Root    string   `yaml:"root" doc:"directory of the pods' log directories; it may appear later; empty: no container logs"`
	Exclude []string `yaml:"exclude" doc:"globs of namespace/pod/container that are not read, e.g. kube-system/*/*"`
}

// Files is one set of plain files.
type Files struct {
	Include []string `yaml:"include" doc:"globs of absolute paths; files that appear later are found too"`
	Exclude []string `yaml:"exclude" doc:"globs of absolute paths that are left out; stronger than include"`
	Format  string   `yaml:"format" enum:"auto,cri,docker,plain" doc:"how a line is written; auto: told from each line"`
}

// The bounds of max_line_bytes. Each byte that is not UTF-8 becomes U+FFFD, three bytes: a record of
// 1 MiB may grow to 3 MiB and still fits the 4 MiB that servers take in one message.
const (
	minLineBytes = 256
	maxLineBytes = 1 << 20
)

// Defaults follows the containers of a Kubernetes node and the system log of a bare one.
func Defaults() Config {
	return Config{
		Containers:   Containers{Root: "/var/log/pods"},
		Files:        []Files{{Include: []string{"/var/log/syslog", "/var/log/messages"}, Format: "auto"}},
		StartAt:      "beginning",
		MaxLineBytes: maxLineBytes,
	}
}

// SetDefaults prepares an entry of files before a configuration is decoded into it.
func (f *Files) SetDefaults() { f.Format = "auto" }

// Check reports every fault at once, each under its YAML path.
func (c Config) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if r := c.Containers.Root; r != "" && !filepath.IsAbs(r) {
		fault("tail.containers.root: %q is not an absolute path; give one, e.g. /var/log/pods", r)
	}
	for i, g := range c.Containers.Exclude {
		if _, err := path.Match(g, ""); err != nil {
			fault("tail.containers.exclude[%d]: %q is not a glob; * stands for any characters, ? for one, [a-z] for one of a range", i, g)
		} else if n := strings.Count(g, "/") + 1; n != 3 {
			fault("tail.containers.exclude[%d]: %q has %d of 3 parts; write namespace/pod/container, e.g. kube-system/*/*", i, g, n)
		}
	}
	for i, f := range c.Files {
		if len(f.Include) == 0 {
			fault("tail.files[%d].include: empty; name at least one file, e.g. [/var/log/syslog]", i)
		}
		for _, l := range []struct {
			key   string
			globs []string
		}{{"include", f.Include}, {"exclude", f.Exclude}} {
			for j, g := range l.globs {
				if _, err := filepath.Match(g, ""); err != nil {
					fault("tail.files[%d].%s[%d]: %q is not a glob; * stands for any characters but /, ? for one, [a-z] for one of a range", i, l.key, j, g)
				} else if slices.Contains(strings.Split(g, "/"), "**") {
					fault("tail.files[%d].%s[%d]: %q: ** would match like *, one directory; name each level, e.g. /var/log/*/*.log", i, l.key, j, g)
				} else if !filepath.IsAbs(g) {
					fault("tail.files[%d].%s[%d]: %q is not an absolute path; begin it with /", i, l.key, j, g)
				}
			}
		}
	}
	if c.MaxLineBytes < minLineBytes {
		fault("tail.max_line_bytes: %d is under %d; give at least that", c.MaxLineBytes, minLineBytes)
	}
	if c.MaxLineBytes > maxLineBytes {
		fault("tail.max_line_bytes: %d is over %d; give at most that", c.MaxLineBytes, maxLineBytes)
	}
	return errors.Join(errs...)
}
