package tail

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Config says which log files are followed and what one record may cost.
type Config struct {
	Containers   Containers `yaml:"containers" doc:"logs that the kubelet keeps of containers"`
	Files        []Files    `yaml:"files" doc:"other log files; a list here replaces the default list"`
	StartAt      string     `yaml:"start_at" enum:"beginning,end" doc:"where to begin in files that exist when the agent runs for the very first time; later ones are read from their beginning"`
	MaxLineBytes int        `yaml:"max_line_bytes" unit:"bytes" doc:"a longer record is cut at a rune and carries the attribute stint.truncated=true; 256 to 1048576"`
	// MaxDeletedBytes bounds what files hold that have no name any more.
	MaxDeletedBytes int64     `yaml:"max_deleted_bytes" unit:"bytes" doc:"how much unread log may lie in deleted files that are kept open; the oldest is given up over it, and counted"`
	Multiline       Multiline `yaml:"multiline" doc:"which lines belong together; a mode in place of the section will do"`
	Parse           Parse     `yaml:"parse" doc:"what is made of the text of a record; a kind of body in place of the section will do"`
}

// Containers is the tree <root>/<namespace>_<pod>_<uid>/<container>/<restart>.log.
type Containers struct {
	Root    string   `yaml:"root" doc:"directory of the pods' log directories; it may appear later; empty: no container logs"`
	Include []string `yaml:"include" doc:"globs of namespace/pod/container that are read; empty: all"`
	Exclude []string `yaml:"exclude" doc:"globs of namespace/pod/container that are not read, e.g. kube-system/*/*; stronger than include"`
	// ExcludeLabels and Labels need metadata of the pods.
	ExcludeLabels []string  `yaml:"exclude_labels" doc:"labels, key or key=value, of pods whose logs are not read"`
	Labels        []string  `yaml:"labels" doc:"keys of pod labels that become the resource attributes k8s.pod.label.KEY"`
	RateLimit     RateLimit `yaml:"rate_limit" doc:"bound of each container's records; what exceeds it is left out and counted"`
}

// RateLimit bounds the records of one container.
type RateLimit struct {
	RecordsPerSecond float64 `yaml:"records_per_second" doc:"0: no limit"`
	Burst            float64 `yaml:"burst" unit:"records" doc:"how many may come at once; 0: ten seconds' worth"`
}

// Files is one set of plain files.
type Files struct {
	Include []string `yaml:"include" doc:"globs of absolute paths, ** for any number of directories; files that appear later are found too"`
	Exclude []string `yaml:"exclude" doc:"globs of absolute paths that are left out; stronger than include"`
	Format  string   `yaml:"format" enum:"auto,cri,docker,plain" doc:"how a line is written; auto: told from each line"`
	// Multiline and Parse, when they are set, take the place of those of tail.
	Multiline *Multiline `yaml:"multiline" doc:"in place of tail.multiline"`
	Parse     *Parse     `yaml:"parse" doc:"in place of tail.parse"`
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
		Containers: Containers{
			Root:   "/var/log/pods",
			Labels: []string{"app.kubernetes.io/name", "app.kubernetes.io/version", "app.kubernetes.io/component"},
		},
		Files:           []Files{{Include: []string{"/var/log/syslog", "/var/log/messages"}, Format: "auto"}},
		StartAt:         "beginning",
		MaxLineBytes:    maxLineBytes,
		MaxDeletedBytes: 1 << 30,
		Multiline:       Multiline{Mode: "off"},
		Parse:           Parse{Body: "off"},
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
	for _, l := range []struct {
		key   string
		globs []string
	}{{"include", c.Containers.Include}, {"exclude", c.Containers.Exclude}} {
		for i, g := range l.globs {
			if _, err := path.Match(g, ""); err != nil {
				fault("tail.containers.%s[%d]: %q is not a glob; * stands for any characters, ? for one, [a-z] for one of a range", l.key, i, g)
			} else if n := strings.Count(g, "/") + 1; n != 3 {
				fault("tail.containers.%s[%d]: %q has %d of 3 parts; write namespace/pod/container, e.g. kube-system/*/*", l.key, i, g, n)
			}
		}
	}
	for i, l := range c.Containers.ExcludeLabels {
		if key, _, _ := strings.Cut(l, "="); key == "" {
			fault("tail.containers.exclude_labels[%d]: %q has no key; write key or key=value", i, l)
		}
	}
	for i, l := range c.Containers.Labels {
		if l == "" || strings.ContainsAny(l, "*= ") {
			fault("tail.containers.labels[%d]: %q is not the key of a label; name each, e.g. app.kubernetes.io/name", i, l)
		}
	}
	if r := c.Containers.RateLimit; r.RecordsPerSecond < 0 || r.Burst < 0 {
		fault("tail.containers.rate_limit: %v records a second with a burst of %v; give numbers of 0 or more", r.RecordsPerSecond, r.Burst)
	} else if r.RecordsPerSecond > 0 && r.Burst > 0 && r.Burst < 1 {
		fault("tail.containers.rate_limit.burst: %v lets nothing pass; give 1 or more", r.Burst)
	}
	if err := c.Multiline.check("tail.multiline"); err != nil {
		errs = append(errs, err)
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
				if !doublestar.ValidatePathPattern(g) {
					fault("tail.files[%d].%s[%d]: %q is not a glob; * stands for any characters but /, ** for any directories, ? for one character, [a-z] for one of a range, {a,b} for either", i, l.key, j, g)
				} else if !filepath.IsAbs(g) {
					fault("tail.files[%d].%s[%d]: %q is not an absolute path; begin it with /", i, l.key, j, g)
				}
			}
		}
		if f.Multiline != nil {
			if err := f.Multiline.check(fmt.Sprintf("tail.files[%d].multiline", i)); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if c.MaxDeletedBytes < 0 {
		fault("tail.max_deleted_bytes: %d is negative; give 0 or more", c.MaxDeletedBytes)
	}
	if c.MaxLineBytes < minLineBytes {
		fault("tail.max_line_bytes: %d is under %d; give at least that", c.MaxLineBytes, minLineBytes)
	}
	if c.MaxLineBytes > maxLineBytes {
		fault("tail.max_line_bytes: %d is over %d; give at most that", c.MaxLineBytes, maxLineBytes)
	}
	return errors.Join(errs...)
}
