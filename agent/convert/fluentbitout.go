package convert

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// output converts [OUTPUT].
func (b *bit) output(s *section) {
	name := s.name()
	what := s.what(name)
	match := matchOf(s)
	if p := s.all("match_regex"); len(p) > 0 {
		b.say(Undone, p[0].place, what+" Match_Regex", "it gets everything now; see pipelines")
	}
	o := output{match: match, place: s.place}
	typ := map[string]string{"es": "elasticsearch", "opensearch": "elasticsearch", "loki": "loki", "opentelemetry": "otlphttp", "file": "file", "stdout": "debug"}[name]
	if typ == "otlphttp" {
		if v, _ := s.take("grpc"); truth(v) {
			typ = "otlp"
		}
	}
	if typ == "" {
		hint := "send OTLP to a Collector that has it"
		if name == "null" {
			hint = "leave it out"
		}
		b.say(Undone, s.place, what, "stint has no such exporter; "+hint)
		markAll(s)
		return
	}
	o.metrics = strings.HasPrefix(typ, "otlp") || typ == "file" || typ == "debug"
	o.exporter = typ
	for n := 2; b.get("exporters", o.exporter) != nil; n++ {
		o.exporter = fmt.Sprintf("%s/%d", typ, n)
	}
	b.set(map[string]any{}, "exporters", o.exporter)
	b.outputs = append(b.outputs, o)
	b.say(Done, s.place, what, "exporters."+o.exporter)
	put := func(value any, path ...string) { b.set(value, append([]string{"exporters", o.exporter}, path...)...) }
	switch typ {
	case "file":
		dir, _ := s.take("path")
		file, ok := s.take("file")
		if !ok {
			file = "records"
		}
		put(path.Join(orRoot(dir), file), "path")
		if v, ok := s.take("format"); ok {
			b.say(Undone, s.place, what+" Format "+v, "the file has OTLP in JSON, a line a batch")
		}
		return
	case "debug":
		s.take("format")
		put("normal", "verbosity")
		return
	}
	b.server(s, typ, what, put)
	switch typ {
	case "elasticsearch":
		index, dated := "fluent-bit", false
		if v, ok := s.take("index"); ok {
			index = v
		}
		if v, _ := s.take("logstash_format"); truth(v) {
			index, dated = "logstash", true
			if v, ok := s.take("logstash_prefix"); ok {
				index = v
			}
		}
		put(index, "logs_index")
		if dated {
			put(true, "logstash_format", "enabled")
		}
		if v, ok := s.take("pipeline"); ok {
			put(v, "pipeline")
		}
		if v, ok := s.take("type"); ok {
			b.say(Moot, s.place, what+" Type "+v, "Elasticsearch has no types any more")
		}
		put("none", "mapping")
		b.say(Undone, s.place, what, "documents have another shape: see exporters.elasticsearch.mapping, and that templates and dashboards fit")
	case "loki":
		if v, ok := s.take("tenant_id"); ok {
			put(v, "tenant_id")
		}
		for _, key := range []string{"labels", "label_keys", "label_map_path", "structured_metadata"} {
			if p := s.all(key); len(p) > 0 {
				b.say(Undone, p[0].place, what+" "+key, "labels come from attributes of resources: exporters.loki.labels, with the push API, or Loki's own configuration of OTLP")
			}
		}
	default:
		if v, ok := s.take("compress"); ok && (v == "gzip" || v == "zstd") {
			put(v, "compression")
		} else if !ok {
			put("none", "compression")
		}
	}
}

func orRoot(dir string) string {
	if dir == "" {
		return "/"
	}
	return dir
}

// server converts where an output sends to, and how.
func (b *bit) server(s *section, typ, what string, put func(value any, path ...string)) {
	ports := map[string]string{"elasticsearch": "9200", "loki": "3100", "otlphttp": "80", "otlp": "4317"}
	host, _ := s.take("host")
	port, _ := s.take("port")
	if host == "" {
		host = "127.0.0.1"
	}
	if port == "" {
		port = ports[typ]
	}
	secure, _ := s.take("tls")
	scheme := "http://"
	if truth(secure) {
		scheme = "https://"
	}
	base := scheme + host + ":" + port
	switch typ {
	case "otlp":
		put(host+":"+port, "endpoint")
		put(!truth(secure), "tls", "insecure")
		for _, key := range []string{"logs_uri", "metrics_uri", "traces_uri"} {
			s.take(key)
		}
	case "otlphttp":
		any := false
		for _, signal := range []string{"logs", "metrics", "traces"} {
			if v, ok := s.take(signal + "_uri"); ok {
				put(base+v, signal+"_endpoint")
				any = true
			}
		}
		if !any {
			put(base, "endpoint")
		}
	case "loki":
		if uri, ok := s.take("uri"); ok {
			base += uri
		} else {
			base += "/loki/api/v1/push"
		}
		put(base, "endpoint")
	default:
		if p, ok := s.take("path"); ok {
			base += p
		}
		put(base, "endpoint")
	}
	user, _ := s.take("http_user")
	password, _ := s.take("http_passwd")
	if user != "" {
		put(user, "user")
		put(password, "password")
		b.say(Done, s.place, what+" HTTP_User, HTTP_Passwd", "user, password; password_file keeps it out of this file")
	}
	if v, ok := s.take("bearer_token"); ok {
		put(v, "bearer_token")
	}
	if v, ok := s.take("tls.verify"); ok && !truth(v) {
		put(true, "tls", "insecure_skip_verify")
	}
	for _, key := range [][2]string{{"tls.ca_file", "ca_file"}, {"tls.crt_file", "cert_file"}, {"tls.key_file", "key_file"}, {"tls.vhost", "server_name_override"}} {
		if v, ok := s.take(key[0]); ok {
			put(v, "tls", key[1])
		}
	}
	if p := s.all("tls.key_passwd"); len(p) > 0 {
		b.say(Undone, p[0].place, what+" tls.key_passwd", "keys with a password are not read; give one without")
	}
	for _, h := range s.all("header") {
		key, value, _ := strings.Cut(h.value, " ")
		put(strings.TrimSpace(value), "headers", key)
	}
}

// matches says whether a tag is one of those of a pattern, in which * is anything.
func matches(pattern, tag string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == tag
	}
	if !strings.HasPrefix(tag, parts[0]) {
		return false
	}
	tag = tag[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(tag, p)
		if i < 0 {
			return false
		}
		tag = tag[i+len(p):]
	}
	return strings.HasSuffix(tag, parts[len(parts)-1])
}

// sources are those whose records have tags of a pattern, by signal. whole: of each source all inputs or none.
func (b *bit) sources(match, signal string) (sources []string, whole bool) {
	whole = true
	for _, i := range b.inputs {
		if i.signal != signal {
			continue
		}
		of := matches(match, i.tag)
		for _, j := range b.inputs {
			whole = whole && (j.source != i.source || matches(match, j.tag) == of)
		}
		if of && !slices.Contains(sources, i.source) {
			sources = append(sources, i.source)
		}
	}
	return sources, whole
}

// pipelines joins sources and exporters by tags.
func (b *bit) pipelines() error {
	if len(b.inputs) > 0 {
		b.files.set(b.target)
	}
	made := 0
	for _, signal := range []string{"logs", "metrics"} {
		byMatch := map[string]string{} // sources, joined: the pipeline's name
		for _, o := range b.outputs {
			if signal == "metrics" && !o.metrics {
				continue
			}
			sources, whole := b.sources(o.match, signal)
			if len(sources) == 0 {
				continue
			}
			if !whole {
				b.say(Undone, o.place, "[OUTPUT] Match "+o.match, "it takes some inputs of a kind and not others; it gets all of "+strings.Join(sources, ", ")+" now")
			}
			name, ok := byMatch[strings.Join(sources, " ")]
			if !ok {
				if name = signal; len(byMatch) > 0 {
					name = fmt.Sprintf("%s/%d", signal, len(byMatch)+1)
				}
				byMatch[strings.Join(sources, " ")] = name
				b.set(sources, "pipelines", name, "sources")
				b.attributes(name, signal, sources)
				made++
			}
			b.add(o.exporter, "pipelines", name, "exporters")
		}
	}
	if made == 0 {
		return errNothing
	}
	for _, i := range b.inputs {
		if !b.taken(i) {
			b.say(Undone, i.place, "[INPUT] with the tag "+i.tag, "no exporter that is left takes its "+i.signal)
		}
	}
	return nil
}

// taken says whether some output takes the records of an input.
func (b *bit) taken(i input) bool {
	return slices.ContainsFunc(b.outputs, func(o output) bool { return matches(o.match, i.tag) && (o.metrics || i.signal == "logs") })
}

// attributes adds the changes for some sources to a pipeline of theirs.
func (b *bit) attributes(pipeline, signal string, sources []string) {
	if signal != "logs" {
		return
	}
	for _, c := range b.changes {
		of, whole := b.sources(c.match, signal)
		all := whole && !slices.ContainsFunc(sources, func(s string) bool { return !slices.Contains(of, s) })
		switch {
		case all:
			b.add(c.attribute, "pipelines", pipeline, "attributes")
		case slices.ContainsFunc(sources, func(s string) bool { return slices.Contains(of, s) }):
			b.say(Undone, c.place, "[FILTER] Match "+c.match, "it is for some sources of the pipeline "+pipeline+" only; make one for them")
		}
	}
}
