package config

import (
	"fmt"
	"io"
	"os"
	"strings"
)

const maxSecretFileBytes = 1 << 20

// expand replaces ${env:NAME}, ${env:NAME:-default} and ${file:/path} and makes $ of $$. Any other $
// stays. What it puts in is not expanded again.
func (l *Loader) expand(s string) (out string, bad *syntax) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		b.WriteString(before)
		switch {
		case !found:
			return b.String(), nil
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			s = after[1:]
		case strings.HasPrefix(after, "{"):
			ref, rest, closed := strings.Cut(after[1:], "}")
			if !closed {
				return "", &syntax{msg: "${ is not closed by }", remedy: "write ${env:NAME}, or $${ for the characters ${"}
			}
			text, bad := l.lookup(ref)
			if bad != nil {
				return "", bad
			}
			b.WriteString(text)
			s = rest
		default:
			b.WriteByte('$')
			s = after
		}
	}
}

// lookup gives what stands between ${ and }.
func (l *Loader) lookup(ref string) (string, *syntax) {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		name, fallback, has := strings.Cut(name, ":-")
		if strings.Contains(fallback, "${") {
			return "", &syntax{msg: fmt.Sprintf("${env:%s:-…} holds another ${", name), remedy: "a default is plain text"}
		}
		if name == "" || strings.ContainsAny(name, "= ${:") {
			return "", &syntax{msg: fmt.Sprintf("%q is not the name of an environment variable", name), remedy: "write ${env:NAME} or ${env:NAME:-default}"}
		}
		value, set := l.env[name]
		switch {
		case has && value == "": // as in a shell, empty counts as unset
			return fallback, nil
		case !set:
			return "", &syntax{msg: fmt.Sprintf("the environment variable %s is not set", name), remedy: fmt.Sprintf("set it, or write ${env:%s:-default}", name)}
		}
		return value, nil
	}
	if path, ok := strings.CutPrefix(ref, "file:"); ok {
		text, err := readRegular(path)
		if err != nil {
			return "", &syntax{msg: fmt.Sprintf("the file %q cannot be read: %s", path, reason(err)), remedy: "write ${file:/path} with the path of a small file that the agent may read"}
		}
		return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"), nil
	}
	kind, _, _ := strings.Cut(ref, ":")
	return "", &syntax{msg: fmt.Sprintf("${%s…} is not known", kind), remedy: "write ${env:NAME}, ${file:/path}, or $${ for the characters ${"}
}

// readRegular reads a small file and nothing that could block, like a pipe.
func readRegular(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFileBytes+1))
	if err == nil && len(data) > maxSecretFileBytes {
		err = fmt.Errorf("it is over %d bytes", maxSecretFileBytes)
	}
	return string(data), err
}
