package follow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"stint/scrape/kube"
)

// ErrNoResource says that the server has no such kind of object that can be listed.
var ErrNoResource = errors.New("the API server has no such resource")

// Kinds are the kinds of object that the server has.
type Kinds struct {
	groups []*metav1.APIGroup
	lists  map[string]*metav1.APIResourceList // by group/version
	// Failed says which groups can't be looked into, because the servers behind them are away; nil
	// when all could.
	Failed error
}

// Discover asks what kinds there are. One group that fails is no error.
func Discover(ctx context.Context, c *kube.Client) (*Kinds, error) {
	d := discovery.ToDiscoveryInterfaceWithContext(c.Typed.Discovery())
	groups, lists, err := discovery.ServerGroupsAndResourcesWithContext(ctx, d)
	if err != nil && (!discovery.IsGroupDiscoveryFailedError(err) || len(lists) == 0) {
		return nil, err
	}
	k := &Kinds{groups: groups, lists: map[string]*metav1.APIResourceList{}, Failed: err}
	for _, l := range lists {
		k.lists[l.GroupVersion] = l
	}
	// The core group first, then as the server has them: of two with the same name the first counts.
	slices.SortStableFunc(k.groups, func(a, b *metav1.APIGroup) int { return min(len(a.Name), 1) - min(len(b.Name), 1) })
	return k, nil
}

// Find looks for a resource by its plural name. Empty group: the first that has it; empty version:
// the one that the server prefers. The error wraps [ErrNoResource].
func (k *Kinds) Find(name, group, version string) (Resource, error) {
	for _, g := range k.groups {
		if group != "" && g.Name != group {
			continue
		}
		versions := slices.Clone(g.Versions)
		slices.SortStableFunc(versions, func(a, b metav1.GroupVersionForDiscovery) int {
			return cmp.Compare(b2i(b == g.PreferredVersion), b2i(a == g.PreferredVersion))
		})
		for _, v := range versions {
			list := k.lists[v.GroupVersion]
			if version != "" && v.Version != version || list == nil {
				continue
			}
			for _, r := range list.APIResources {
				if r.Name == name && slices.Contains(r.Verbs, "list") {
					gv := schema.GroupVersion{Group: g.Name, Version: v.Version}
					return Resource{Group: gv.Group, Version: gv.Version, Name: r.Name, Kind: r.Kind, Namespaced: r.Namespaced, Watchable: slices.Contains(r.Verbs, "watch")}, nil
				}
			}
		}
	}
	err := fmt.Errorf("%w: %s %s", ErrNoResource, Resource{Group: group, Name: name}.FullName(), version)
	if k.Failed != nil {
		err = fmt.Errorf("%w; %w", err, k.Failed)
	}
	return Resource{}, err
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
