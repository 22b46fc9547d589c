// Package deploy checks what is deployed against the documents.
package deploy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Every alert has its heading in docs/alerts.md, every such heading its alert, and both say what a person needs at night.
func TestAlertsDocs(t *testing.T) {
	text, err := os.ReadFile("prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("prometheus/rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split(string(doc), "\n## ")[1:] {
		heading, body, _ := strings.Cut(s, "\n")
		if strings.HasPrefix(heading, "Stint") {
			sections[heading] = body
		}
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			body, ok := sections[r.Alert]
			if !ok {
				t.Errorf("docs/alerts.md has no heading %s", r.Alert)
			}
			delete(sections, r.Alert)
			if !strings.Contains(body, "\n1. ") || !strings.Contains(body, "\n3. ") || strings.Contains(body, "\n4. ") {
				t.Errorf("docs/alerts.md, %s: want the first three things to do", r.Alert)
			}
			if want := "docs/alerts.md#" + strings.ToLower(r.Alert); r.Annotations["runbook"] != want {
				t.Errorf("%s: runbook %q, want %q", r.Alert, r.Annotations["runbook"], want)
			}
			if r.Annotations["summary"] == "" || !strings.Contains(r.Annotations["description"], "$value") {
				t.Errorf("%s: want a summary, and a description with the value: %q", r.Alert, r.Annotations)
			}
			if !slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) {
				t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
			}
			if !regexp.MustCompile(`alertname: ` + r.Alert + `\b`).Match(tests) {
				t.Errorf("rules_test.yaml does not test %s", r.Alert)
			}
		}
	}
	for heading := range sections {
		t.Errorf("docs/alerts.md: there is no alert %s", heading)
	}
}

// Dashboards can be imported as they are: the data source is a variable, each panel says its unit and has a place of its own.
func TestDashboards(t *testing.T) {
	files, err := filepath.Glob("grafana/*.json")
	if err != nil || len(files) != 5 {
		t.Fatal("dashboards:", files, err)
	}
	uids := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		type source struct{ Type, UID string }
		var d struct {
			UID, Title    string
			SchemaVersion int
			Panels        []struct {
				ID          int
				Type, Title string
				Datasource  source
				GridPos     struct{ X, Y, W, H int }
				FieldConfig struct{ Defaults struct{ Unit string } }
				Targets     []struct {
					Datasource source
					Expr       string
				}
			}
			Templating struct{ List []struct{ Name, Type string } }
		}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if d.UID == "" || uids[d.UID] || d.Title == "" || d.SchemaVersion < 41 {
			t.Errorf("%s: uid %q, title %q, schemaVersion %d", file, d.UID, d.Title, d.SchemaVersion)
		}
		uids[d.UID] = true
		variables := map[string]bool{"__rate_interval": true, "__range": true}
		for _, v := range d.Templating.List {
			variables[v.Name] = true
		}
		if len(d.Templating.List) == 0 || d.Templating.List[0].Name != "datasource" || d.Templating.List[0].Type != "datasource" {
			t.Errorf("%s: the first variable is not the data source", file)
		}
		if len(d.Panels) > 24 {
			t.Errorf("%s: %d panels are more than a person reads", file, len(d.Panels))
		}
		want := source{"prometheus", "${datasource}"}
		ids, cells := map[int]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			if ids[p.ID] || p.Title == "" {
				t.Errorf("%s: panel %d %q", file, p.ID, p.Title)
			}
			ids[p.ID] = true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
						t.Fatalf("%s: %q lies on %q, or outside", file, p.Title, other)
					}
					cells[[2]int{x, y}] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			if p.Datasource != want || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
				t.Errorf("%s: %q: data source %v, unit %q, %d queries", file, p.Title, p.Datasource, p.FieldConfig.Defaults.Unit, len(p.Targets))
			}
			for _, q := range p.Targets {
				if q.Datasource != want {
					t.Errorf("%s: %q: data source %v", file, p.Title, q.Datasource)
				}
				for _, m := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(q.Expr, -1) {
					if !variables[m[1]] {
						t.Errorf("%s: %q: there is no variable %s", file, p.Title, m[1])
					}
				}
			}
		}
	}
}

// Keys and files that the documents name are there.
func TestDocsNames(t *testing.T) {
	keys := map[string]bool{}
	for _, doc := range []string{"configuration.md", "cluster.md"} {
		text, err := os.ReadFile("../docs/" + doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?m)^\\| `([a-zA-Z_.\\[\\]]+)` \\|").FindAllSubmatch(text, -1) {
			keys[string(m[1])] = true
		}
	}
	named := regexp.MustCompile("`((?:tail|scrape|journald|batch|spool|dead_letter|memory_limiter|pipelines|gateway|leader|state|events|objects|admin|health)\\.[a-zA-Z_.\\[\\]]+)")
	link := regexp.MustCompile(`\]\(([^)#:]+)?(?:#([^)]*))?\)`)
	for _, doc := range []string{"alerts.md", "migrate.md", "security.md", "sizing.md"} {
		text, err := os.ReadFile("../docs/" + doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			key := strings.TrimRight(m[1], ".")
			if !keys[key] && !(strings.Contains(key, "NAME") && hasForm(keys, key)) {
				t.Errorf("docs/%s: there is no key %s", doc, key)
			}
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			file := filepath.Join("../docs", m[1])
			if m[1] == "" {
				file = "../docs/" + doc
			}
			target, err := os.ReadFile(file)
			if err != nil {
				if info, e := os.Stat(file); e != nil || !info.IsDir() {
					t.Errorf("docs/%s: %v", doc, err)
				}
				continue
			}
			if m[2] != "" && !slices.Contains(anchors(string(target)), m[2]) {
				t.Errorf("docs/%s: %s has no heading %s", doc, file, m[2])
			}
		}
	}
}

// hasForm says whether there is a key like scrape.host.NAME.enabled.
func hasForm(keys map[string]bool, form string) bool {
	want := regexp.MustCompile(`^` + strings.ReplaceAll(regexp.QuoteMeta(form), "NAME", `[a-zA-Z_]+`) + `$`)
	for key := range keys {
		if want.MatchString(key) {
			return true
		}
	}
	return false
}

// anchors are those of a text's headings, as GitHub makes them.
func anchors(text string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		a := regexp.MustCompile(`[^a-z0-9_ -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(a, " ", "-"))
	}
	return all
}
