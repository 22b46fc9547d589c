package convert

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// bit is the conversion of a Fluent Bit configuration.
type bit struct {
	*target
	files   files
	inputs  []input
	outputs []output
	changes []change
	starts  map[string]string // of multiline parsers: the regular expression of first lines
}

// input is a source, with the tag that its records have.
type input struct{ source, signal, tag, place string }

// output is an exporter, with the tags that it takes.
type output struct {
	exporter, match, place string
	metrics                bool // it takes these, too
}

// change is of an attribute, for the records of some tags.
type change struct {
	attribute    map[string]any
	match, place string
}

// fluentBit converts sections.
func fluentBit(t *target, sections []*section) error {
	b := &bit{target: t, starts: map[string]string{}}
	for _, s := range sections {
		if s.kind == "multiline_parser" {
			b.multilineParser(s)
		}
	}
	for _, s := range sections {
		switch s.kind {
		case "service":
			b.service(s)
		case "input":
			b.input(s)
		case "filter":
			b.filter(s)
		case "output":
			b.output(s)
		case "multiline_parser":
		case "parser":
			name := s.name()
			if slices.Contains([]string{"cri", "docker", "json"}, name) {
				b.say(Moot, s.place, s.what(name), "the format is told from each line; JSON in it by tail.parse")
			} else {
				b.say(Undone, s.place, s.what(name), "texts are taken for JSON or klog (tail.parse); by regular expressions parse in the store, or in a Collector")
			}
			continue
		default:
			b.say(Undone, s.place, s.what(""), "not a section that is known")
			continue
		}
		b.rest(s)
	}
	return b.pipelines()
}

// rest reports what of a section was not handled.
func (b *bit) rest(s *section) {
	name := s.name()
	for _, p := range s.props {
		if p.used {
			continue
		}
		what := s.what(name) + " " + p.key
		if why := moot(strings.ToLower(p.key)); why != "" {
			b.say(Moot, p.place, what, why)
		} else {
			b.say(Undone, p.place, what, "no key of stint-agent that it is known to be; see docs/migrate.md")
		}
	}
}

// mootKeys are keys that need no counterpart, in lower case, and why.
const mootKeys = `
db = offsets are in state_dir; those of Fluent Bit are not taken over
db.sync db.locking db.journal_mode storage.checksum storage.metrics buffer_chunk_size inotify_watcher static_batch_size event_batch_size threaded strip_underscores lowercase max_entries max_fields coro_stack_size dns.mode dns.resolver dns.prefer_ipv4 kube_meta_cache_ttl kube_meta_preload_cache_dir kube_token_ttl use_kubelet tls.debug merge_log_trim buffer_size use_journal workers trace_error trace_output suppress_type_name replace_dots time_key_nanos drop_single_key log_response_payload net.keepalive net.keepalive_idle_timeout net.keepalive_max_recycle net.connect_timeout net.dns.mode net.dns.resolver logs_body_key logs_body_key_attributes = stint always does so
db.compare_filename = a file is known by its first bytes
mem_buf_limit = logs wait in their files: memory_limiter
storage.type storage.path storage.sync storage.backlog.mem_limit storage.max_chunks_up storage.pause_on_chunks_overlimit storage.delete_irrecoverable_chunks storage.inherit = logs wait in their files, metrics in the spool: spool.max_bytes
storage.total_limit_size = spool.max_bytes
refresh_interval = files are watched
rotate_wait = files are read to their end
skip_long_lines = longer lines are cut and marked: tail.max_line_bytes
skip_empty_lines = empty lines are sent
docker_mode docker_mode_flush = partial lines are joined
multiline.flush multiline_flush = tail.multiline
path_key offset_key = log.file.path is always there
key = the text is the body
tag_regex kube_tag_prefix = names of pods are known
daemon = systemd, or the kubelet, does this
parsers_file = parsers are converted when they are included
plugins_file = there are no plug-ins
streams_file = there is no stream processor
hot_reload = a changed file counts within a second
health_check = health.listen: /livez, /readyz and /flowing
hc_errors_count hc_retry_failure_count hc_period = /flowing
scheduler.cap scheduler.base = exporters.NAME.retry_on_failure
kube_url = the API server is not asked
kube_ca_file kube_ca_path = scrape.kubelet.ca_file
kube_token_file = scrape.kubelet.token_file
kubelet_port kubelet_host = scrape.kubelet.endpoint
k8s-logging.exclude = the annotation fluentbit.io/exclude counts
k8s-logging.parser = the annotation stint.io/parse
keep_log = tail.parse
merge_log_key = attributes have their own names
labels = tail.containers.labels names those that are sent
annotations = annotations are not sent
owner_references = the workload is always there
namespace_labels = labels of namespaces are not known to a node
retry_limit = attempts never end
time_key = @timestamp
include_tag_key tag_key = there are no tags
generate_id = exporters.elasticsearch.document_id
current_time_index = exporters.elasticsearch.logstash_format.date_from
write_operation = create
line_format json_date_key json_date_format = records are OTLP
auto_kubernetes_labels remove_keys = exporters.loki.labels
mkdir = its directory has to be there
`

// moot says why a key needs no counterpart; "" if it does.
func moot(key string) string {
	for line := range strings.Lines(mootKeys) {
		keys, why, _ := strings.Cut(line, " = ")
		if slices.Contains(strings.Fields(keys), key) {
			return strings.TrimSpace(why)
		}
	}
	return ""
}

// service converts [SERVICE].
func (b *bit) service(s *section) {
	if v, ok := s.take("flush"); ok {
		if d, good := seconds(v); good {
			b.set(d, "batch", "timeout")
			b.say(Done, s.place, "[SERVICE] Flush", "batch.timeout")
		} else {
			b.say(Undone, s.place, "[SERVICE] Flush", "no duration; set batch.timeout")
		}
	}
	if v, ok := s.take("grace"); ok {
		if d, good := seconds(v); good {
			b.set(d, "drain_timeout")
			b.say(Done, s.place, "[SERVICE] Grace", "drain_timeout")
		} else {
			b.say(Undone, s.place, "[SERVICE] Grace", "no duration; set drain_timeout")
		}
	}
	if v, ok := s.take("log_level"); ok {
		level := map[string]string{"off": "error", "error": "error", "warn": "warn", "warning": "warn", "info": "info", "debug": "debug", "trace": "debug"}[strings.ToLower(v)]
		if level != "" {
			b.set(level, "log", "level")
			b.say(Done, s.place, "[SERVICE] Log_Level", "log.level")
		} else {
			b.say(Undone, s.place, "[SERVICE] Log_Level", "set log.level to debug, info, warn or error")
		}
	}
	if v, ok := s.take("log_file"); ok {
		b.say(Undone, s.place, "[SERVICE] Log_File "+v, "stint writes to standard error")
	}
	on, _ := s.take("http_server")
	host, _ := s.take("http_listen")
	port, _ := s.take("http_port")
	if truth(on) {
		if host == "" {
			host = "0.0.0.0"
		}
		if port == "" {
			port = "2020"
		}
		b.set(host+":"+port, "admin", "listen")
		b.say(Done, s.place, "[SERVICE] HTTP_Server", "admin.listen; /metrics is the agent's own, /status its state")
	}
}

// multilineParser notes how the records of a [MULTILINE_PARSER] begin.
func (b *bit) multilineParser(s *section) {
	name := s.name()
	s.take("type")
	for _, r := range append(s.all("rule"), s.all("rules")...) {
		parts := regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(r.value, -1)
		if len(parts) < 2 || parts[0][1] != "start_state" {
			continue
		}
		start := strings.TrimSuffix(strings.TrimPrefix(parts[1][1], "/"), "/")
		if _, err := regexp.Compile(start); err != nil {
			b.say(Undone, r.place, s.what(name), "its first rule is no regular expression of RE2; set tail.multiline.start")
			return
		}
		b.starts[name] = start
		b.say(Done, s.place, s.what(name), "tail.multiline.start, where it is used; what does not begin a record goes on with it")
		return
	}
	b.say(Undone, s.place, s.what(name), "it has no rule of start_state; set tail.multiline.start")
}

// input converts [INPUT].
func (b *bit) input(s *section) {
	name := s.name()
	what := s.what(name)
	tag, _ := s.take("tag")
	if tag == "" {
		tag = name + ".0"
	}
	switch name {
	case "tail":
		b.tail(s, what, tag)
	case "systemd":
		b.systemd(s, what, tag)
	case "node_exporter_metrics", "cpu", "mem", "disk", "netif", "thermal", "proc":
		b.inputs = append(b.inputs, input{"host", "metrics", tag, s.place})
		b.say(Done, s.place, what, "the source host; names are OpenTelemetry's, or node_exporter's by scrape.names")
		for _, key := range []string{"scrape_interval", "interval_sec"} {
			if v, ok := s.take(key); ok {
				if d, good := seconds(v); good {
					b.set(d, "scrape", "interval")
					b.say(Done, s.place, what+" "+key, "scrape.interval")
				} else {
					b.say(Undone, s.place, what+" "+key, "no duration; set scrape.interval")
				}
			}
		}
		for _, key := range []string{"path.procfs", "path.sysfs", "path.rootfs"} {
			if v, ok := s.take(key); ok && v != "/proc" && v != "/sys" && v != "/" {
				b.say(Undone, s.place, what+" "+key, "set scrape.root_path to where the host's root directory is seen")
			}
		}
		if _, ok := s.take("metrics"); ok {
			b.say(Undone, s.place, what+" metrics", "groups are switched by scrape.host.NAME.enabled")
		}
	default:
		hint := "keep Fluent Bit, or a Collector, for it"
		switch name {
		case "opentelemetry":
			hint = "the gateway of stint-cluster receives OTLP"
		case "kubernetes_events":
			hint = "stint-cluster reads events"
		case "fluentbit_metrics":
			hint = "the agent's own metrics are the source self"
		}
		b.say(Undone, s.place, what, "stint-agent has no such source; "+hint)
		markAll(s)
	}
}

// markAll ends the report on a section whose whole is reported.
func markAll(s *section) {
	for i := range s.props {
		s.props[i].used = true
	}
}

func (b *bit) tail(s *section, what, tag string) {
	list := func(key string) (globs []string) {
		for _, p := range s.all(key) {
			for _, g := range strings.Split(p.value, ",") {
				if g = strings.TrimSpace(g); g != "" {
					globs = append(globs, g)
				}
			}
		}
		return globs
	}
	entry, err := b.files.add(list("path"), list("exclude_path"))
	if err != nil {
		b.say(Undone, s.place, what, err.Error()+"; set tail.containers.include and exclude, or tail.files, by hand")
		markAll(s)
		return
	}
	b.inputs = append(b.inputs, input{"tail", "logs", tag, s.place})
	b.say(Done, s.place, what, "the source tail")
	head, _ := s.take("read_from_head")
	start := "end"
	if truth(head) {
		start = "beginning"
	}
	b.set(start, "tail", "start_at")
	b.say(Done, s.place, what+" Read_from_Head, false where it is not set", "tail.start_at")
	if v, ok := s.take("buffer_max_size"); ok {
		if n, good := size(v); good {
			b.set(min(max(n, 256), 1<<20), "tail", "max_line_bytes")
			b.say(Done, s.place, what+" Buffer_Max_Size", "tail.max_line_bytes")
		} else {
			b.say(Undone, s.place, what+" Buffer_Max_Size", "no size; set tail.max_line_bytes")
		}
	}
	put := func(key string, value any) {
		if entry != nil {
			entry[key] = value
		} else {
			b.set(value, "tail", key)
		}
	}
	for _, p := range s.all("parser") {
		switch p.value {
		case "cri", "docker", "containerd", "cri-log":
			b.say(Moot, p.place, what+" Parser", "the format is told from each line")
		case "json":
			put("parse", "json")
			b.say(Done, p.place, what+" Parser", "parse")
		default:
			b.say(Undone, p.place, what+" Parser "+p.value, "texts are taken for JSON or klog (tail.parse); by regular expressions parse in the store, or in a Collector")
		}
	}
	for _, p := range s.all("multiline.parser") {
		for _, m := range strings.Split(p.value, ",") {
			switch m = strings.ToLower(strings.TrimSpace(m)); {
			case m == "cri" || m == "docker":
				b.say(Moot, p.place, what+" multiline.parser "+m, "the format is told from each line")
			case m == "java" || m == "go" || m == "python" || m == "ruby":
				put("multiline", m)
				b.say(Done, p.place, what+" multiline.parser "+m, "multiline")
			case b.starts[m] != "":
				put("multiline", map[string]any{"start": b.starts[m]})
				b.say(Done, p.place, what+" multiline.parser "+m, "multiline.start")
			default:
				b.say(Undone, p.place, what+" multiline.parser "+m, "its [MULTILINE_PARSER] is not here; set tail.multiline.start")
			}
		}
	}
	if v, ok := s.take("multiline"); ok && truth(v) {
		b.say(Undone, s.place, what+" Multiline", "set tail.multiline.start to a regular expression of first lines")
	}
}

func (b *bit) systemd(s *section, what, tag string) {
	b.inputs = append(b.inputs, input{"journald", "logs", tag, s.place})
	b.set(true, "journald", "enabled")
	b.say(Done, s.place, what, "journald")
	var units []string
	for _, p := range s.all("systemd_filter") {
		if unit, ok := strings.CutPrefix(p.value, "_SYSTEMD_UNIT="); ok {
			units = append(units, unit)
		} else {
			b.say(Undone, p.place, what+" Systemd_Filter "+p.value, "journald.units and journald.priority choose entries")
		}
	}
	if len(units) > 0 {
		b.set(units, "journald", "units")
		b.say(Done, s.place, what+" Systemd_Filter", "journald.units")
	}
	if dir, ok := s.take("path"); ok {
		b.set(dir, "journald", "directory")
		b.say(Done, s.place, what+" Path", "journald.directory")
	}
	end, _ := s.take("read_from_tail")
	start := "beginning"
	if truth(end) {
		start = "end"
	}
	b.set(start, "journald", "start_at")
	b.say(Done, s.place, what+" Read_From_Tail, off where it is not set", "journald.start_at")
}

// filter converts [FILTER].
func (b *bit) filter(s *section) {
	name := s.name()
	what := s.what(name)
	match := matchOf(s)
	// Each of these keys may come several times, and their order counts.
	actions := map[string]string{"add": "insert", "set": "upsert", "remove": "delete", "remove_key": "delete", "record": "upsert"}
	switch name {
	case "kubernetes":
		b.say(Moot, s.place, what, "names, owners and labels of pods are known from the kubelet")
		if v, ok := s.take("merge_log"); ok && truth(v) {
			b.set("json", "tail", "parse")
			b.say(Done, s.place, what+" Merge_Log", "tail.parse")
		}
	case "modify", "record_modifier":
		for i := range s.props {
			p := &s.props[i]
			action := actions[strings.ToLower(p.key)]
			if action == "" {
				continue
			}
			p.used = true
			key, value, _ := strings.Cut(p.value, " ")
			a := map[string]any{"key": key, "action": action}
			if action != "delete" {
				a["value"] = strings.Trim(strings.TrimSpace(value), `"`)
			}
			b.changes = append(b.changes, change{a, match, p.place})
			b.say(Done, p.place, what+" "+p.key+" "+key, "pipelines.NAME.attributes")
		}
		for _, key := range []string{"condition", "rename", "hard_rename", "copy", "hard_copy", "remove_wildcard", "remove_regex", "allowlist_key", "whitelist_key", "uuid_key", "move_to_start", "move_to_end"} {
			for _, p := range s.all(key) {
				b.say(Undone, p.place, what+" "+p.key, "pipelines.NAME.attributes can insert, update, upsert and delete; let a Collector behind it do more")
			}
		}
	case "throttle":
		rate, _ := s.take("rate")
		every, _ := s.take("interval")
		s.take("window")
		s.take("print_status")
		n, err := strconv.ParseFloat(rate, 64)
		d := map[string]float64{"": 1, "s": 1, "1s": 1, "m": 60, "1m": 60, "60s": 60, "h": 3600, "1h": 3600}[every]
		if err != nil || n <= 0 || d == 0 {
			b.say(Undone, s.place, what, "set tail.containers.rate_limit.records_per_second")
			return
		}
		b.set(n/d, "tail", "containers", "rate_limit", "records_per_second")
		b.say(Done, s.place, what, "tail.containers.rate_limit, for each container and not for all together")
	default:
		b.say(Undone, s.place, what, "stint has no such filter; leave pods out by tail.containers.exclude or labels, and let a Collector behind it do the rest")
		markAll(s)
	}
}

// matchOf gives the tags that a filter or output is for.
func matchOf(s *section) string {
	match, ok := s.take("match")
	if !ok {
		match = "*"
	}
	return match
}
