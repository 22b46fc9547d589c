package convert

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// files gathers what is to be followed: container logs, by namespace, pod and container, and others.
type files struct {
	include, exclude []string // containers, as namespace/pod/container
	all              bool     // all containers
	others           []map[string]any
}

// containerGlob reads a glob of log files below /var/log/containers, whose names are POD_NAMESPACE_CONTAINER-ID.log, or
// /var/log/pods, where they lie in NAMESPACE_POD_UID/CONTAINER/: namespace/pod/container. of: it lies there.
func containerGlob(glob string) (container string, of bool, err error) {
	fault := fmt.Errorf("%s names container logs in a way that namespace/pod/container can't", glob)
	if rest, ok := strings.CutPrefix(glob, "/var/log/containers/"); ok {
		name := strings.TrimSuffix(rest, ".log")
		parts := strings.Split(name, "_")
		switch {
		case strings.Contains(rest, "/"):
			return "", true, fault
		case name == "*" || name == "":
			return "*/*/*", true, nil
		case len(parts) == 3:
			c := strings.TrimSuffix(strings.TrimSuffix(parts[2], "*"), "-")
			if c == "" || strings.HasSuffix(parts[2], "*") && !strings.HasSuffix(parts[2], "-*") && parts[2] != "*" {
				c += "*"
			}
			return orAny(parts[1]) + "/" + orAny(parts[0]) + "/" + orAny(c), true, nil
		case len(parts) == 2 && strings.HasSuffix(parts[1], "*"): // pod*_namespace*: what follows is any container
			return orAny(strings.TrimRight(parts[1], "*")) + "/" + orAny(parts[0]) + "/*", true, nil
		case len(parts) == 1 && strings.HasSuffix(name, "*"):
			return "*/" + name + "/*", true, nil
		}
		return "", true, fault
	}
	rest, ok := strings.CutPrefix(glob, "/var/log/pods/")
	if !ok {
		return "", false, nil
	}
	parts := strings.Split(rest, "/")
	if rest == "*" || rest == "**" || rest == "**/*.log" || rest == "" {
		return "*/*/*", true, nil
	}
	if len(parts) > 3 {
		return "", true, fault
	}
	container = "*"
	if len(parts) > 1 && parts[1] != "**" && !strings.HasSuffix(parts[1], ".log") {
		container = orAny(parts[1])
	}
	dir := strings.Split(parts[0], "_")
	switch len(dir) {
	case 1:
		if dir[0] != "*" && dir[0] != "**" {
			return "", true, fault
		}
		return "*/*/" + container, true, nil
	case 2, 3:
		return orAny(dir[0]) + "/" + orAny(dir[1]) + "/" + container, true, nil
	}
	return "", true, fault
}

func orAny(s string) string {
	if s == "" {
		return "*"
	}
	return s
}

// add takes the globs of one input. It gives the entry of tail.files, nil if they are of containers only.
func (f *files) add(include, exclude []string) (entry map[string]any, err error) {
	if len(include) == 0 {
		return nil, errors.New("it names no files")
	}
	var in, out []string
	for _, glob := range include {
		c, of, err := containerGlob(glob)
		switch {
		case err != nil:
			return nil, err
		case !of && !path.IsAbs(glob):
			return nil, fmt.Errorf("%s is no absolute path", glob)
		case !of:
			in = append(in, glob)
		case c == "*/*/*":
			f.all = true
		default:
			f.include = append(f.include, c)
		}
	}
	for _, glob := range exclude {
		c, of, err := containerGlob(glob)
		switch {
		case err != nil:
			return nil, err
		case !of:
			out = append(out, glob)
		case !slices.Contains(f.exclude, c):
			f.exclude = append(f.exclude, c)
		}
	}
	if len(in) == 0 {
		return nil, nil
	}
	entry = map[string]any{"include": in}
	if len(out) > 0 {
		entry["exclude"] = out
	}
	f.others = append(f.others, entry)
	return entry, nil
}

// set writes what was gathered.
func (f *files) set(t *target) {
	switch {
	case !f.all && len(f.include) == 0:
		t.set("", "tail", "containers", "root")
	case !f.all:
		t.set(f.include, "tail", "containers", "include")
	}
	if len(f.exclude) > 0 {
		t.set(f.exclude, "tail", "containers", "exclude")
	}
	if f.others == nil {
		f.others = []map[string]any{}
	}
	t.set(f.others, "tail", "files")
}
