// Command man writes the manual pages of stint-agent, compressed: stint-agent.8 from the help texts of the
// binary, stint-agent.yaml.5 from the configuration reference.
package main

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	agent := flag.String("agent", "bin/stint-agent", "the binary whose help is taken")
	reference := flag.String("reference", "docs/configuration.md", "the configuration reference")
	version := flag.String("version", "", "stands at the foot of the pages")
	out := flag.String("out", ".", "directory")
	flag.Parse()
	if err := run(*agent, *reference, *version, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(agent, reference, version, out string) error {
	page, err := commandPage(agent, version)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(out, "stint-agent.8.gz"), page); err != nil {
		return err
	}
	text, err := os.ReadFile(reference)
	if err != nil {
		return err
	}
	return write(filepath.Join(out, "stint-agent.yaml.5.gz"), configurationPage(string(text), version))
}

// write compresses without a time, so that the same page is the same file.
func write(name, page string) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write([]byte(page)); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

// commandPage has the help of the program, then that of each command that it names.
func commandPage(agent, version string) (string, error) {
	help := func(args ...string) (string, error) {
		out, err := exec.Command(agent, append([]string{"help"}, args...)...).Output()
		if err != nil {
			return "", fmt.Errorf("%s help: %w", agent, err)
		}
		return string(out), nil
	}
	whole, err := help()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	header(&b, "STINT-AGENT", "8", version)
	b.WriteString(".SH NAME\nstint-agent \\- telemetry agent of a Linux node\n.SH SYNOPSIS\n")
	synopsis, rest, _ := strings.Cut(whole, "Usage: ")
	usage, rest, _ := strings.Cut(rest, "\n")
	b.WriteString(escape(usage) + "\n.SH DESCRIPTION\n" + escape(strings.TrimSpace(synopsis)) + "\n")
	verbatim(&b, rest)
	for _, verb := range commands(whole) {
		if verb == "help" {
			continue
		}
		text, err := help(verb)
		if err != nil {
			return "", err
		}
		// The flags that all have stand above.
		text, _, _ = strings.Cut(text, "\nFlags:\n")
		b.WriteString(".SH " + strings.ToUpper(verb) + "\n")
		verbatim(&b, text)
	}
	b.WriteString(`.SH FILES
.TP
/etc/stint/agent.yaml
the configuration of the service
.TP
/var/lib/stint
offsets and what waits for a destination, of mode 0700
.SH SEE ALSO
stint-agent.yaml(5), journalctl(1), systemctl(1)
`)
	return b.String(), nil
}

// commands are the words below "Commands:".
func commands(help string) (verbs []string) {
	_, list, _ := strings.Cut(help, "Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) > 0 {
			verbs = append(verbs, f[0])
		}
	}
	return verbs
}

// configurationPage has what the Markdown has: titles become sections, rows of tables an entry each.
func configurationPage(markdown, version string) string {
	var b strings.Builder
	header(&b, "STINT-AGENT.YAML", "5", version)
	b.WriteString(".SH NAME\nstint-agent.yaml \\- configuration of stint-agent\n")
	fenced, columns := false, []string(nil)
	for line := range strings.Lines(markdown) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
			b.WriteString(map[bool]string{true: ".PP\n.nf\n", false: ".fi\n"}[fenced])
		case fenced:
			b.WriteString(escape(line) + "\n")
		case strings.HasPrefix(line, "<!--"), strings.HasPrefix(line, "|---"):
		case strings.HasPrefix(line, "# "):
			b.WriteString(".SH DESCRIPTION\n")
		case strings.HasPrefix(line, "## "):
			b.WriteString(".SH " + escape(plain(line[3:])) + "\n")
		case strings.HasPrefix(line, "### "), strings.HasPrefix(line, "#### "):
			b.WriteString(".SS " + escape(plain(strings.TrimLeft(line, "# "))) + "\n")
		case strings.HasPrefix(line, "|"):
			cells := row(line)
			if columns == nil {
				columns = cells
				continue
			}
			entry(&b, columns, cells)
			continue // the table goes on
		case strings.TrimSpace(line) == "":
			b.WriteString(".PP\n")
		default:
			b.WriteString(escape(plain(line)) + "\n")
		}
		if !strings.HasPrefix(line, "|---") {
			columns = nil
		}
	}
	b.WriteString(".SH SEE ALSO\nstint-agent(8)\n")
	return b.String()
}

// row splits a line of a table at what is no \|.
func row(line string) (cells []string) {
	line = strings.ReplaceAll(strings.Trim(line, "|"), `\|`, "\x00")
	for cell := range strings.SplitSeq(line, "|") {
		cells = append(cells, strings.TrimSpace(plain(strings.ReplaceAll(cell, "\x00", "|"))))
	}
	return cells
}

// entry is one row: the first column above, of those between what is not empty, the last below.
func entry(b *strings.Builder, columns, cells []string) {
	b.WriteString(".TP\n\\fB" + escape(cells[0]) + "\\fR")
	for i := 1; i < len(cells)-1 && i < len(columns); i++ {
		switch {
		case cells[i] == "":
		case columns[i] == "default":
			b.WriteString(escape(", default " + cells[i]))
		default:
			b.WriteString(escape(", " + cells[i]))
		}
	}
	b.WriteString("\n" + escape(cells[len(cells)-1]) + "\n")
}

// plain takes the marks of Markdown away.
func plain(s string) string {
	return strings.NewReplacer("`", "", "&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(s)
}

func header(b *strings.Builder, name, section, version string) {
	fmt.Fprintf(b, ".TH %s %s \"\" \"stint %s\"\n", name, section, version)
}

// verbatim keeps lines as they are.
func verbatim(b *strings.Builder, text string) {
	b.WriteString(".PP\n.nf\n" + escape(strings.Trim(text, "\n")) + "\n.fi\n")
}

// escape makes roff of text: no backslash, and no dot or quote in front, means more than itself.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
