package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stint/export"
	"stint/scrape/kube"
	"stint/scrape/kube/checkpoint"
	"stint/scrape/kube/events"
	"stint/scrape/kube/follow"
	"stint/scrape/kube/lookup"
	"stint/scrape/kube/state"
)

// Finding is what a look at the API server says about one section of the configuration.
type Finding struct {
	OK   bool
	Path string
	Text string
}

func (f Finding) String() string {
	level := "ok"
	if !f.OK {
		level = "fail"
	}
	return fmt.Sprintf("%-4s %s: %s", level, f.Path, f.Text)
}

// checkTimeout bounds all that is asked.
const checkTimeout = 15 * time.Second

// CheckServer asks the API server whether it allows what a faultless configuration asks for. It changes nothing.
func CheckServer(ctx context.Context, cfg *Config, version string) (all []Finding) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	add := func(ok bool, path, text string, args ...any) {
		all = append(all, Finding{ok, path, fmt.Sprintf(text, args...)})
	}
	var wanted []string
	for _, l := range sourcesOf(cfg) {
		if cfg.sends(l.signal.String(), l.name) {
			wanted = append(wanted, l.name)
		}
	}
	enrich := cfg.Gateway.Enrich
	if len(wanted) == 0 && !enrich.Enabled {
		add(true, "kubernetes", "no pipeline takes what only a leader reads: the API server is not asked")
		return all
	}
	c, err := kube.NewClient(cfg.Kubernetes, version)
	if err != nil {
		add(false, "kubernetes", "%v", err)
		return all
	}
	who, err := c.Typed.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		add(false, "kubernetes", "%s: %v", c.REST.Host, err)
		return all
	}
	add(true, "kubernetes", "%s answers, to %s", c.REST.Host, who.Status.UserInfo.Username)

	allowed := func(path string, rules ...kube.Rule) {
		before := len(all)
		for _, r := range rules {
			missing, err := c.Missing(ctx, r)
			if err != nil {
				add(false, path, "permissions can't be asked for: %v", err)
				return
			}
			if len(missing.Verbs) > 0 {
				add(false, path, "not allowed; add %s", missing)
			}
		}
		if len(all) == before {
			add(true, path, "%d rules, none is missing", len(rules))
		}
	}
	if enrich.Enabled {
		allowed("gateway.enrich", lookup.Rules(enrich)...)
	}
	ns := cfg.Leader.LeaseNamespace
	switch {
	case len(wanted) == 0:
		return all
	case ns == "":
		add(false, "leader.lease_namespace", "empty, and this is no pod; set it, or POD_NAMESPACE by the downward API")
		return all
	}
	allowed("leader",
		kube.Rule{Group: "coordination.k8s.io", Resource: "leases", Name: cfg.Leader.LeaseName, Namespace: ns, Verbs: []string{"get", "update"}},
		kube.Rule{Group: "coordination.k8s.io", Resource: "leases", Namespace: ns, Verbs: []string{"create"}},
		kube.Rule{Resource: "events", Namespace: ns, Verbs: []string{"create"}})
	if slices.Contains(wanted, "state") {
		allowed("state", state.Rules(cfg.State)...)
	}
	if slices.Contains(wanted, "events") {
		allowed("events", append(events.Rules(cfg.Events), checkpoint.Rules(cfg.Events.CheckpointName, cmp.Or(cfg.Events.CheckpointNamespace, ns))...)...)
	}
	if slices.Contains(wanted, "objects") && len(cfg.Objects.Resources) > 0 {
		kinds, err := follow.Discover(ctx, c)
		if err != nil {
			add(false, "objects", "kinds of object can't be asked for: %v", err)
			return all
		}
		rules := checkpoint.Rules(cfg.Objects.CheckpointName, cmp.Or(cfg.Objects.CheckpointNamespace, ns))
		for i, r := range cfg.Objects.Resources {
			of, err := r.Rules(kinds)
			if errors.Is(err, follow.ErrNoResource) {
				add(false, fmt.Sprintf("objects.resources[%d]", i), "%v", err)
			}
			rules = append(rules, of...)
		}
		allowed("objects", rules...)
	}
	return all
}

// sends says whether some pipeline takes a source. Without exporters all go to the sink.
func (c *Config) sends(signal, source string) bool {
	if len(c.Exporters) == 0 {
		return slices.Contains(c.defaultSources()[signal], source)
	}
	for name, p := range c.Pipelines {
		if export.Signal(name) == signal && slices.Contains(p.Sources, source) {
			return true
		}
	}
	return false
}
