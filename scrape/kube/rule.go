package kube

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Rule is what a role must allow.
type Rule struct {
	Group, Resource string
	Name            string // of the one object; empty: any
	Namespace       string // empty: a ClusterRole must allow it
	Verbs           []string
}

// Reads is the rule for what is listed and watched.
func Reads(group, resource, namespace string) Rule {
	return Rule{Group: group, Resource: resource, Namespace: namespace, Verbs: []string{"list", "watch"}}
}

func (r Rule) String() string {
	name, role := "", "ClusterRole"
	if r.Name != "" {
		name = "resourceNames: [" + r.Name + "], "
	}
	if r.Namespace != "" {
		role = "Role in " + r.Namespace
	}
	return fmt.Sprintf("{apiGroups: [%q], resources: [%s], %sverbs: [%s]} in a %s", r.Group, r.Resource, name, strings.Join(r.Verbs, ", "), role)
}

// Missing is the part of a rule that no role allows, with no verbs if there is none.
func (c *Client) Missing(ctx context.Context, r Rule) (Rule, error) {
	missing := r
	missing.Verbs = nil
	for _, verb := range r.Verbs {
		answer, err := c.Typed.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: r.Namespace, Verb: verb, Group: r.Group, Resource: r.Resource, Name: r.Name,
			}},
		}, metav1.CreateOptions{})
		if err != nil {
			return missing, err
		}
		if !answer.Status.Allowed {
			missing.Verbs = append(missing.Verbs, verb)
		}
	}
	return missing, nil
}
