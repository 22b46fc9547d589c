package host

import (
	"os"
	"regexp"
	"strings"
)

// commandLine is the words with which a process was started. Kernel threads have none.
func commandLine(file string) []string {
	b, _ := os.ReadFile(file)
	line := strings.TrimRight(string(b), "\x00")
	if line == "" {
		return nil
	}
	return strings.Split(line, "\x00")
}

var (
	// secretName matches names of what is not for everyone's eyes.
	secretName = regexp.MustCompile(`(?i)(pass|pwd|secret|token|credential|auth|api[-_]?key|access[-_]?key|private[-_]?key)`)
	// userinfo is name and password in a URL.
	userinfo = regexp.MustCompile(`://[^/@\s]+@`)
)

// maxCommandLine bounds the text of a command line, bytes.
const maxCommandLine = 1 << 10

// redact joins the words of a command line, the values of what looks like a secret blotted out:
// --password=x, --password x, PASSWORD=x, scheme://user:x@host.
func redact(args []string) string {
	var words []string
	hide := false
	for _, arg := range args {
		if hide && !strings.HasPrefix(arg, "-") {
			words, hide = append(words, "***"), false
			continue
		}
		hide = false
		name, _, ok := strings.Cut(arg, "=")
		secret := secretName.MatchString(name) && len(words) > 0
		switch {
		case secret && ok:
			arg = name + "=***"
		case secret && strings.HasPrefix(arg, "-"):
			hide = true
		default:
			arg = userinfo.ReplaceAllString(arg, "://***@")
		}
		words = append(words, arg)
	}
	line := strings.ToValidUTF8(strings.Join(words, " "), "?")
	if len(line) > maxCommandLine {
		line = strings.ToValidUTF8(line[:maxCommandLine], "") + "…"
	}
	return line
}

// processCgroup is the control group of a process: that of v2, else of the first hierarchy of
// v1 in which it is not at the root.
func processCgroup(file string) (group string) {
	b, _ := os.ReadFile(file)
	for l := range strings.Lines(string(b)) {
		_, l, _ = strings.Cut(strings.TrimSuffix(l, "\n"), ":")
		controllers, path, ok := strings.Cut(l, ":")
		if ok && path != "/" && (group == "" || controllers == "") {
			group = path
		}
	}
	return group
}

var containerIDs = regexp.MustCompile(`(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?:/|$)`)

// containerID is the container in the path of a control group, as all runtimes name it.
func containerID(cgroup string) string {
	if all := containerIDs.FindAllStringSubmatch(cgroup, -1); len(all) > 0 {
		return all[len(all)-1][1]
	}
	return ""
}
