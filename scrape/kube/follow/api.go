// Package follow keeps up with one kind of object of the Kubernetes API: it lists them page by page
// and watches what becomes of them ([Follower]), as the JSON that the server sends, one object in
// memory at a time. A [Ledger] knows how far what was handed on is acknowledged, an [Emitter] puts
// records into chunks.
package follow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/rest"

	"stint/scrape/kube"
	"stint/scrape/kube/rawjson"
)

const (
	// PageSize is how many objects a page of a list has.
	PageSize = 500
	// maxObject bounds an object's JSON. etcd takes 1.5 MiB by default, in protobuf, and some servers
	// are set to several times that.
	maxObject = 32 << 20
)

// Resource is a kind of object as discovery names it.
type Resource struct {
	Group, Version string
	Name           string // plural, e.g. pods
	Kind           string // e.g. Pod
	Namespaced     bool
	Watchable      bool
}

// APIVersion is what objects have in that field.
func (r Resource) APIVersion() string {
	if r.Group == "" {
		return r.Version
	}
	return r.Group + "/" + r.Version
}

// FullName is the plural name with its group.
func (r Resource) FullName() string {
	if r.Group == "" {
		return r.Name
	}
	return r.Name + "." + r.Group
}

// Target is what is listed and watched.
type Target struct {
	Resource
	Namespace     string // empty: all, or not namespaced
	LabelSelector string
	FieldSelector string
}

func (t Target) String() string {
	if t.Namespace != "" {
		return t.FullName() + " in " + t.Namespace
	}
	return t.FullName()
}

// Rule is the rule that a role must have so that the target can be listed and watched.
func (t Target) Rule() string { return kube.Reads(t.Group, t.Name, t.Namespace).String() }

// API asks the API server in JSON.
type API struct{ rest rest.Interface }

// NewAPI shares the client's connections and its rate limit.
func NewAPI(c *kube.Client) *API { return &API{c.Typed.CoreV1().RESTClient()} }

func (a *API) get(t Target) *rest.Request {
	r := a.rest.Get()
	if t.Group == "" {
		r = r.AbsPath("/api", t.Version)
	} else {
		r = r.AbsPath("/apis", t.Group, t.Version)
	}
	if t.Namespace != "" {
		r = r.Suffix("namespaces", t.Namespace)
	}
	r = r.Suffix(t.Name)
	if t.LabelSelector != "" {
		r = r.Param("labelSelector", t.LabelSelector)
	}
	if t.FieldSelector != "" {
		r = r.Param("fieldSelector", t.FieldSelector)
	}
	return r
}

// Page says which page of a list is wanted, and then what is known of it.
type Page struct {
	Limit    int
	Continue string // token; of the next page once this one is read
	Exact    string // the list as it was at this resourceVersion; only without a token
	Metadata bool   // only the metadata of the objects

	ResourceVersion string // of the list
}

// List reads one page; each gets its objects, valid until it returns, nil for one that is too large.
// What is known of the page is kept when there is an error, too.
func (a *API) List(ctx context.Context, t Target, p *Page, each func(object []byte) error) error {
	r := a.get(t).Param("limit", strconv.Itoa(p.Limit))
	accept := "application/json"
	if p.Metadata {
		accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
	}
	r = r.SetHeader("Accept", accept)
	switch {
	case p.Continue != "":
		r = r.Param("continue", p.Continue)
	case p.Exact != "":
		r = r.Param("resourceVersion", p.Exact).Param("resourceVersionMatch", "Exact")
	}
	body, err := r.Stream(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	p.Continue = ""
	err = rawjson.NewReader(body, maxObject).Object("items", each, func(key string, value []byte) {
		if key != "metadata" {
			return
		}
		_ = rawjson.EachField(value, func(k, v []byte) {
			switch string(k) {
			case "resourceVersion":
				p.ResourceVersion = rawjson.String(v)
			case "continue":
				p.Continue = rawjson.String(v)
			}
		})
	})
	return err
}

// The types of what a watch sends.
const (
	Added    = "ADDED"
	Modified = "MODIFIED"
	Deleted  = "DELETED"
	bookmark = "BOOKMARK"
)

// Watch calls opened when the server has begun to answer, and each with what happens after a
// resourceVersion, until the server ends the watch, which it does after timeout: io.EOF. The object
// is valid until each returns; it is nil when it was too large.
func (a *API) Watch(ctx context.Context, t Target, version string, timeout time.Duration, opened func(), each func(kind string, object []byte) error) error {
	body, err := a.get(t).SetHeader("Accept", "application/json").
		Param("watch", "true").Param("allowWatchBookmarks", "true").Param("resourceVersion", version).
		Param("timeoutSeconds", strconv.Itoa(max(int(timeout/time.Second), 1))).Stream(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	opened()
	r := rawjson.NewReader(body, maxObject)
	for {
		raw, err := r.Value()
		switch {
		case errors.Is(err, rawjson.ErrTooLarge):
			if err := each("", nil); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		var kind string
		var object []byte
		if err := rawjson.EachField(raw, func(k, v []byte) {
			switch string(k) {
			case "type":
				kind = typeOf(v)
			case "object":
				object = v
			}
		}); err != nil {
			return err
		}
		if kind == "ERROR" {
			return statusError(object)
		}
		if err := each(kind, object); err != nil {
			return err
		}
	}
}

// typeOf is a type without making a string of it.
func typeOf(v []byte) string {
	for _, t := range [...]string{Added, Modified, Deleted, bookmark, "ERROR"} {
		if len(v) == len(t)+2 && string(v[1:len(v)-1]) == t {
			return t
		}
	}
	return rawjson.String(v)
}

func statusError(object []byte) error {
	var s metav1.Status
	if err := json.Unmarshal(object, &s); err != nil {
		return fmt.Errorf("an ERROR event: %w", err)
	}
	return &apierrors.StatusError{ErrStatus: s}
}

// expired says whether a resourceVersion or a token is too old.
func expired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

// tokenOf is the token with which an expired list can be continued, inconsistently.
func tokenOf(err error) string {
	var s apierrors.APIStatus
	if errors.As(err, &s) {
		return s.Status().Continue
	}
	return ""
}

// missing says whether there is no such kind of object.
func missing(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) }

// future says whether a resourceVersion is one that the server has not come to, by the one that it
// has now: of another cluster, or of before etcd was restored.
func future(version, now string) bool {
	n, err := resourceversion.CompareResourceVersion(version, now)
	return err == nil && n > 0
}

// Newer says whether a is a later resourceVersion than b. Those that are no numbers, as an aggregated
// API server may have them, can't be compared: they are taken for newer.
func Newer(a, b string) bool {
	if b == "" {
		return true
	}
	n, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil || n > 0
}
