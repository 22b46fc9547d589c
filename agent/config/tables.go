package config

import (
	"bytes"
	"fmt"
	"strings"
)

// Tables are settings as Markdown: a table of those at the top, then one for each section, and for
// each type of exporter.
func Tables(settings []Setting) []byte {
	var b bytes.Buffer
	const head = "\n| key | type | default | unit | meaning |\n|---|---|---|---|---|\n"
	cell := strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", ">", "&gt;")
	row := func(s Setting) {
		typ, def := s.Type, ""
		if s.Section {
			typ = "section"
		}
		if s.Default != "" {
			def = "`" + s.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", s.Path, typ, strings.ReplaceAll(def, "|", `\|`), s.Unit, cell.Replace(s.Doc))
	}
	b.WriteString("\n### Top level\n" + head)
	for _, s := range settings {
		if !s.Section && !strings.Contains(s.Path, ".") && !strings.HasPrefix(s.Type, "map") {
			row(s)
		}
	}
	for _, s := range settings {
		switch top := !strings.Contains(s.Path, "."); {
		case top && (s.Section || strings.HasPrefix(s.Type, "map")):
			fmt.Fprintf(&b, "\n### `%s`\n\n%s.\n", s.Path, strings.ToUpper(s.Doc[:1])+s.Doc[1:])
			if s.Path != "exporters" { // a table for each type follows
				b.WriteString(head)
			}
		case top:
		case s.Section && s.Doc == "":
			fmt.Fprintf(&b, "\n#### `%s` or `%[1]s/NAME`\n", s.Path)
			b.WriteString(head)
		default:
			row(s)
		}
	}
	return b.Bytes()
}
