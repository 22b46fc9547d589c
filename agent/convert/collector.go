package convert

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// conversion is that of a Collector's configuration.
type conversion struct {
	*target
	root  *node
	files files

	source    map[string][]string         // of receivers, as pipelines of stint name them; none: it can't be done
	exporter  map[string]string           // of exporters; "": it can't be done
	attribute map[string][]map[string]any // of processors that change attributes
}

// collector converts the configuration of an OpenTelemetry Collector.
func collector(t *target, root *node) error {
	c := &conversion{target: t, root: root, source: map[string][]string{}, exporter: map[string]string{}, attribute: map[string][]map[string]any{}}
	for _, p := range root.pairs() {
		if !slices.Contains([]string{"receivers", "processors", "exporters", "extensions", "connectors", "service"}, p.key) {
			c.say(Undone, p.value.place(), p.key, "not a section that is known")
		}
	}
	used := c.used()
	each := func(section string, convert func(id, typ string, n *node)) {
		for _, p := range root.child(section).pairs() {
			if !used[section+"/"+p.key] {
				c.say(Moot, p.value.place(), section+"."+p.key, "no pipeline uses it")
				continue
			}
			typ, _ := splitID(p.key)
			convert(p.key, typ, p.value)
		}
	}
	each("receivers", c.receiver)
	each("processors", c.processor)
	each("exporters", c.exporterOf)
	each("connectors", func(id, _ string, n *node) {
		c.undone(n, "connectors."+id, "stint has no connectors; let a Collector do this")
	})
	each("extensions", c.extension)
	c.telemetry()
	if len(c.source) > 0 {
		c.files.set(t)
	}
	return c.pipelines()
}

// These three are no places to be inlined: there are many, and the binary has a limit.

//go:noinline
func (c *conversion) done(n *node, what, key string) { c.say(Done, n.place(), what, key) }

//go:noinline
func (c *conversion) moot(n *node, what, why string) { c.say(Moot, n.place(), what, why) }

//go:noinline
func (c *conversion) undone(n *node, what, why string) { c.say(Undone, n.place(), what, why) }

// used are the components that the service names, as SECTION/ID.
func (c *conversion) used() map[string]bool {
	used := map[string]bool{}
	service := c.root.child("service")
	for _, p := range service.child("pipelines").pairs() {
		for _, section := range []string{"receivers", "processors", "exporters"} {
			for _, id := range p.value.child(section).texts() {
				used[section+"/"+id] = true
				used["connectors/"+id] = true
			}
		}
	}
	for _, id := range service.child("extensions").texts() {
		used["extensions/"+id] = true
	}
	return used
}

// rest reports the keys of a component that handled does not have.
func (c *conversion) rest(what string, n *node, moot map[string]string, handled ...string) {
	for _, p := range n.pairs() {
		if slices.Contains(handled, p.key) {
			continue
		}
		if why, ok := moot[p.key]; ok {
			c.moot(p.value, what+"."+p.key, why)
			continue
		}
		c.undone(p.value, what+"."+p.key, "no key of stint-agent that it is known to be; see docs/configuration.md")
	}
}

const (
	always   = "stint always does so"
	ownState = "offsets are in state_dir; those of the Collector are not taken over"
	inFiles  = "logs wait in their files, metrics in the spool: spool.max_bytes"
	noLimit  = "attempts never end"
)

// receiver converts a source.
func (c *conversion) receiver(id, typ string, n *node) {
	what := "receivers." + id
	switch typ {
	case "filelog":
		c.filelog(what, id, n)
	case "journald":
		c.journald(what, id, n)
	case "hostmetrics":
		c.hostmetrics(what, id, n)
	case "kubeletstats":
		c.kubeletstats(what, id, n)
	case "otlp":
		c.undone(n, what, "stint-agent receives nothing: let applications send to the gateway of stint-cluster, or keep a Collector for them")
	case "k8s_cluster", "k8s_events", "k8sobjects", "k8s_objects":
		c.undone(n, what, "stint-cluster does this (state, events, objects): docs/cluster.md")
	case "prometheus", "prometheus_simple":
		c.undone(n, what, "stint does not scrape Prometheus endpoints; keep a Collector or Prometheus for them")
	default:
		c.undone(n, what, "stint has no such source; keep a Collector for it")
	}
}

func (c *conversion) filelog(what, id string, n *node) {
	entry, err := c.files.add(n.child("include").texts(), n.child("exclude").texts())
	if err != nil {
		c.undone(n, what+".include, exclude", err.Error()+"; set tail.containers.include and exclude by hand")
		return
	}
	c.source[id] = []string{"tail"}
	c.done(n, what, "the source tail")
	if s := n.child("start_at"); s != nil {
		c.set(s.text(), "tail", "start_at")
		c.done(s, what+".start_at", "tail.start_at")
	} else {
		c.set("end", "tail", "start_at")
		c.done(n, what+".start_at, end where it is not set", "tail.start_at")
	}
	if s := n.child("max_log_size"); s != nil {
		if b, ok := size(strings.ReplaceAll(s.text(), "i", "")); ok {
			c.set(min(b, 1<<20), "tail", "max_line_bytes")
			c.done(s, what+".max_log_size", "tail.max_line_bytes: longer lines are cut, not split in two")
		} else {
			c.undone(s, what+".max_log_size", "no size; set tail.max_line_bytes")
		}
	}
	if m := n.child("multiline"); m != nil {
		if start := m.child("line_start_pattern"); start != nil {
			if entry != nil {
				entry["multiline"] = map[string]any{"start": start.text()}
				c.done(m, what+".multiline", "tail.files[].multiline.start")
			} else {
				c.set(start.text(), "tail", "multiline", "start")
				c.done(m, what+".multiline", "tail.multiline.start, for all containers")
			}
		} else {
			c.undone(m, what+".multiline", "records are told by how they begin, not by how they end; set tail.multiline.start")
		}
	}
	c.operators(what, n.child("operators"), entry)
	c.rest(what, n, map[string]string{
		"include_file_path": "log.file.path is always there", "include_file_name": "log.file.path is always there", "include_file_path_resolved": "log.file.path is always there",
		"storage": ownState, "poll_interval": "files are watched", "fingerprint_size": always, "force_flush_period": "partial lines wait for their ends", "retry_on_failure": noLimit,
		"max_concurrent_files": "no limit is needed", "max_batches": "no limit is needed",
	}, "include", "exclude", "start_at", "max_log_size", "multiline", "operators")
}

// standard are operators of the usual way to read container logs, by id or by what they move.
var standard = []string{"get-format", "parser-crio", "parser-containerd", "parser-docker", "parser-cri", "crio-recombine", "containerd-recombine", "cri-recombine", "docker-recombine",
	"extract_metadata_from_filepath", "extract-metadata-from-filepath", "handle_empty_log"}

// moved are attributes that such a configuration moves to where stint has them anyway.
var moved = []string{"attributes.stream", "attributes.container_name", "attributes.namespace", "attributes.pod_name", "attributes.restart_count", "attributes.uid", "attributes.log"}

// operators converts what a filelog does with its lines.
func (c *conversion) operators(what string, n *node, entry map[string]any) {
	for _, o := range n.items() {
		typ, id := o.child("type").text(), o.child("id").text()
		name := what + ".operators: " + typ
		switch {
		case typ == "container" || slices.Contains(standard, id) || typ == "move" && slices.Contains(moved, o.child("from").text()):
			c.moot(o, name, "the format is told from each line, and names are known")
		case typ == "json_parser":
			if entry != nil {
				entry["parse"] = "json"
				c.done(o, name, "tail.files[].parse")
			} else {
				c.set("json", "tail", "parse")
				c.done(o, name, "tail.parse, for all containers")
			}
		case typ == "recombine" && o.child("is_first_entry") != nil:
			c.undone(o, name, "set tail.multiline.start to a regular expression of first lines")
		default:
			c.undone(o, name, "stint has no such operator; parse behind it, in a Collector or in the store")
		}
	}
}

func (c *conversion) journald(what, id string, n *node) {
	c.source[id] = []string{"journald"}
	c.set(true, "journald", "enabled")
	c.done(n, what, "journald")
	if u := n.child("units"); u != nil {
		c.set(u.texts(), "journald", "units")
		c.done(u, what+".units", "journald.units")
	}
	for _, key := range []string{"priority", "directory", "start_at"} {
		if v := n.child(key); v != nil {
			c.set(v.text(), "journald", key)
			c.done(v, what+"."+key, "journald."+key)
		}
	}
	c.rest(what, n, map[string]string{"storage": ownState, "retry_on_failure": noLimit}, "units", "priority", "directory", "start_at")
}

// hostGroups are scrapers of hostmetrics that stint has by the same name, and whether it has them on.
var hostGroups = map[string]bool{"cpu": true, "load": true, "memory": true, "disk": true, "filesystem": true, "network": true, "paging": true, "processes": true, "process": false, "system": true}

func (c *conversion) hostmetrics(what, id string, n *node) {
	c.source[id] = []string{"host"}
	c.done(n, what, "the source host")
	c.interval(what, n, "scrape", "interval")
	if r := n.child("root_path"); r != nil {
		c.set(r.text(), "scrape", "root_path")
		c.done(r, what+".root_path", "scrape.root_path")
	}
	asked := map[string]bool{}
	for _, s := range n.child("scrapers").pairs() {
		name := what + ".scrapers." + s.key
		on, known := hostGroups[s.key]
		asked[s.key] = true
		switch {
		case !known:
			c.undone(s.value, name, "stint has no such group of metrics")
			continue
		case on:
			c.moot(s.value, name, "scrape.host."+s.key+" is on")
		default:
			c.set(true, "scrape", "host", s.key, "enabled")
			c.done(s.value, name, "scrape.host."+s.key+".enabled")
		}
		for _, p := range s.value.pairs() {
			c.undone(p.value, name+"."+p.key, "what is left out, and what is on, is set below scrape.host."+s.key+"; see docs/configuration.md")
		}
	}
	var off []string
	for _, s := range sortedKeys(hostGroups) {
		if hostGroups[s] && !asked[s] && s != "system" {
			c.set(false, "scrape", "host", s, "enabled")
			off = append(off, s)
		}
	}
	if len(off) > 0 {
		c.done(n, what+", what is not among its scrapers", "scrape.host.{"+strings.Join(off, ",")+"}.enabled: false")
	}
	c.rest(what, n, map[string]string{"initial_delay": "the first scrape is at once", "timeout": always}, "collection_interval", "root_path", "scrapers")
}

// interval converts collection_interval.
func (c *conversion) interval(what string, n *node, path ...string) {
	i := n.child("collection_interval")
	if i == nil {
		return
	}
	if d, ok := seconds(i.text()); ok {
		c.set(d, path...)
		c.done(i, what+".collection_interval", strings.Join(path, "."))
	} else {
		c.undone(i, what+".collection_interval", "no duration; set "+strings.Join(path, "."))
	}
}

func (c *conversion) kubeletstats(what, id string, n *node) {
	c.source[id] = []string{"kubelet"}
	c.set("true", "scrape", "kubelet", "enabled")
	c.done(n, what, "the source kubelet")
	c.interval(what, n, "scrape", "kubelet", "interval")
	if e := n.child("endpoint"); e != nil {
		url := e.text()
		if !strings.Contains(url, "://") {
			url = "https://" + url
		}
		c.set(url, "scrape", "kubelet", "endpoint")
		c.done(e, what+".endpoint", "scrape.kubelet.endpoint")
	}
	for _, key := range []string{"ca_file", "insecure_skip_verify"} {
		if v := n.child(key); v != nil {
			c.set(v.value(), "scrape", "kubelet", key)
			c.done(v, what+"."+key, "scrape.kubelet."+key)
		}
	}
	if a := n.child("auth_type"); a != nil && a.text() == "serviceAccount" {
		c.moot(a, what+".auth_type", "the token is in scrape.kubelet.token_file")
	} else if a != nil {
		c.undone(a, what+".auth_type", "stint shows the kubelet a token: scrape.kubelet.token_file")
	}
	c.rest(what, n, map[string]string{"metric_groups": "scrape.kubelet.{node,pods,containers,volumes} are on", "extra_metadata_labels": always, "k8s_api_config": "the API server is not asked",
		"initial_delay": "the first scrape is at once"}, "collection_interval", "endpoint", "ca_file", "insecure_skip_verify", "auth_type")
}

// processor converts what stands between.
func (c *conversion) processor(id, typ string, n *node) {
	what := "processors." + id
	switch typ {
	case "batch":
		if v := n.child("timeout"); v != nil {
			if d, ok := seconds(v.text()); ok && d != "0s" {
				c.set(d, "batch", "timeout")
				c.done(v, what+".timeout", "batch.timeout")
			} else {
				c.moot(v, what+".timeout", "batch.timeout is 5s; 0 is not possible")
			}
		}
		records, place := 0, n
		for _, key := range []string{"send_batch_size", "send_batch_max_size"} {
			if v, err := strconv.Atoi(n.child(key).text()); err == nil && v > 0 {
				records, place = v, n.child(key)
			}
		}
		if records > 0 {
			c.set(records, "batch", "send_batch_size")
			c.done(place, what+".send_batch_size, send_batch_max_size", "batch.send_batch_size")
		}
		c.rest(what, n, nil, "timeout", "send_batch_size", "send_batch_max_size")
	case "memory_limiter":
		c.memoryLimiter(what, n)
	case "k8sattributes", "k8s_attributes":
		c.moot(n, what, "names, owners and images of pods are known from the kubelet; labels: tail.containers.labels")
	case "resourcedetection", "resource_detection":
		c.moot(n, what, "host.name and k8s.node.name are always there; of clouds nothing is asked")
	case "attributes":
		c.attributes(what, id, n.child("actions"), "record")
		c.rest(what, n, nil, "actions")
	case "resource":
		c.attributes(what, id, n.child("attributes"), "resource")
		c.rest(what, n, nil, "attributes")
	default:
		c.undone(n, what, "stint has no such processor; let a Collector behind it do this")
	}
}

func (c *conversion) memoryLimiter(what string, n *node) {
	mib, _ := strconv.Atoi(n.child("limit_mib").text())
	for _, p := range n.pairs() {
		name := what + "." + p.key
		v, err := strconv.Atoi(p.value.text())
		switch p.key {
		case "check_interval":
			d, ok := seconds(p.value.text())
			if !ok || d == "0s" {
				c.undone(p.value, name, "no interval; memory_limiter.check_interval is 1s")
				continue
			}
			c.set(d, "memory_limiter", p.key)
		case "limit_percentage", "spike_limit_percentage", "limit_mib":
			if err != nil {
				c.undone(p.value, name, "no number; set memory_limiter."+p.key)
				continue
			}
			c.set(v, "memory_limiter", p.key)
			if p.key == "limit_mib" {
				c.set(100, "memory_limiter", "limit_percentage") // of it
			}
		case "spike_limit_mib":
			if err != nil || mib <= 0 || v >= mib {
				c.undone(p.value, name, "it goes with limit_mib; set memory_limiter.spike_limit_percentage")
				continue
			}
			c.set(max(1, 100*v/mib), "memory_limiter", "spike_limit_percentage")
		default:
			c.undone(p.value, name, "no key of memory_limiter")
			continue
		}
		c.done(p.value, name, "memory_limiter")
	}
}

// attributes converts the actions of an attributes or resource processor.
func (c *conversion) attributes(what, id string, actions *node, context string) {
	for _, a := range actions.items() {
		action, key, value := a.child("action").text(), a.child("key").text(), a.child("value")
		simple := key != "" && (action == "delete" || value != nil && value.text() != "" && slices.Contains([]string{"insert", "update", "upsert"}, action))
		extra := slices.ContainsFunc(a.pairs(), func(p pair) bool { return !slices.Contains([]string{"action", "key", "value"}, p.key) })
		if !simple || extra {
			c.undone(a, fmt.Sprintf("%s: %s of %s", what, action, key), "only insert, update, upsert (of a value that stands here) and delete are there")
			continue
		}
		c.attribute[id] = append(c.attribute[id], attribute(action, key, value, context))
		c.done(a, fmt.Sprintf("%s: %s of %s", what, action, key), "pipelines.NAME.attributes")
	}
}

func attribute(action, key string, value *node, context string) map[string]any {
	a := map[string]any{"key": key, "action": action, "context": context}
	if action == "delete" {
		return a
	}
	a["value"] = value.text()
	switch value.value().(type) {
	case int:
		a["type"] = "int"
	case float64:
		a["type"] = "double"
	case bool:
		a["type"] = "bool"
	}
	return a
}

// extension converts what stands beside the pipelines.
func (c *conversion) extension(id, typ string, n *node) {
	what := "extensions." + id
	switch typ {
	case "health_check", "healthcheckv2":
		if e := n.child("endpoint"); e != nil {
			c.set(e.text(), "health", "listen")
		}
		c.done(n, what, "health.listen; paths are /livez, /readyz and /flowing")
	case "file_storage":
		c.moot(n, what, ownState)
	case "k8s_leader_elector":
		c.moot(n, what, "stint-cluster has its own")
	default:
		c.undone(n, what, "stint has no such extension")
	}
}

// telemetry converts what the Collector says of itself.
func (c *conversion) telemetry() {
	service := c.root.child("service")
	t := service.child("telemetry")
	for _, p := range t.pairs() {
		what := "service.telemetry." + p.key
		switch p.key {
		case "logs":
			if l := p.value.child("level"); l != nil && slices.Contains([]string{"debug", "info", "warn", "error"}, strings.ToLower(l.text())) {
				c.set(strings.ToLower(l.text()), "log", "level")
				c.done(l, what+".level", "log.level")
			}
			if e := p.value.child("encoding"); e != nil {
				c.set(map[bool]string{true: "json", false: "text"}[e.text() == "json"], "log", "format")
				c.done(e, what+".encoding", "log.format")
			}
			c.rest(what, p.value, nil, "level", "encoding")
		case "metrics":
			if a := p.value.child("address"); a != nil {
				c.set(a.text(), "admin", "listen")
				c.done(a, what+".address", "admin.listen")
			}
			c.rest(what, p.value, map[string]string{"level": always, "readers": "/metrics is at admin.listen, and the source self sends the same"}, "address")
		default:
			c.undone(p.value, what, "stint does not have this")
		}
	}
	c.rest("service", service, nil, "pipelines", "extensions", "telemetry")
}

// pipelines converts the pipelines of the service, as far as something of them is left.
func (c *conversion) pipelines() error {
	made := 0
	for _, p := range c.root.child("service").child("pipelines").pairs() {
		what, n := "service.pipelines."+p.key, p.value
		signal, _ := splitID(p.key)
		if signal != "logs" && signal != "metrics" {
			c.undone(n, what, "stint-agent has logs and metrics; others go through the gateway of stint-cluster")
			continue
		}
		var sources, exporters []string
		for _, id := range n.child("receivers").texts() {
			for _, s := range c.source[id] {
				if !slices.Contains(sources, s) {
					sources = append(sources, s)
				}
			}
		}
		for _, id := range n.child("exporters").texts() {
			if e := c.exporter[id]; e != "" && !slices.Contains(exporters, e) {
				exporters = append(exporters, e)
			}
		}
		if len(sources) == 0 || len(exporters) == 0 {
			c.undone(n, what, "none of its receivers, or none of its exporters, is left")
			continue
		}
		c.set(sources, "pipelines", p.key, "sources")
		c.set(exporters, "pipelines", p.key, "exporters")
		var attributes []map[string]any
		for _, id := range n.child("processors").texts() {
			attributes = append(attributes, c.attribute[id]...)
		}
		if len(attributes) > 0 {
			c.set(attributes, "pipelines", p.key, "attributes")
		}
		c.done(n, what, "pipelines."+p.key)
		made++
	}
	if made == 0 {
		return errNothing
	}
	return nil
}
