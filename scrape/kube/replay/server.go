// Package replay is an API server for tests, in memory: it lists and watches objects whose JSON it is
// given, such as captures of a real one, byte for byte, and misbehaves as that does: versions that are
// forgotten, tokens that expire, answers that break off, watches that hang.
package replay

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"

	"stint/scrape/kube"
	"stint/scrape/kube/follow"
)

// Server is the API server.
type Server struct {
	URL string

	mu        sync.Mutex // guards everything below
	changed   chan struct{}
	kinds     []follow.Resource
	broken    map[string]bool // groups whose discovery fails
	forbidden map[string]bool // resources by name
	log       []event
	rv        int
	compacted int // versions before it are forgotten
	maps      map[string]*corev1.ConfigMap
	epoch     int // grows when all watches are ended
	down      bool
	cut       int  // bytes after which the next list breaks off; 0: none
	stalls    bool // or comes to a standstill
	requests  []string
	forgets   bool   // all but what is to come
	hangs     string // requests of this path are not answered
	cluster   string
	t         testing.TB
}

// event is one change.
type event struct {
	rv              int
	kind            string // follow.Added …, or BOOKMARK
	resource        string // full name
	namespace, name string
	raw             []byte
}

// New starts a server until the test ends. It has configmaps and no other kind.
func New(t testing.TB) *Server {
	s := &Server{changed: make(chan struct{}), broken: map[string]bool{}, forbidden: map[string]bool{}, maps: map[string]*corev1.ConfigMap{}, rv: 1, cluster: "11111111-2222-3333-4444-555555555555", t: t}
	h := httptest.NewServer(s)
	s.URL = h.URL
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
	})
	return s
}

// Client asks the server.
func (s *Server) Client(t testing.TB) *kube.Client {
	t.Helper()
	name := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n", s.URL)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := kube.NewClient(kube.Config{Kubeconfig: name}, "test")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// update changes the server's state and tells whoever waits for it.
func (s *Server) update(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Pods are the kind that most tests use.
var Pods = follow.Resource{Version: "v1", Name: "pods", Kind: "Pod", Namespaced: true, Watchable: true}

// Have makes kinds known.
func (s *Server) Have(kinds ...follow.Resource) {
	s.update(func() { s.kinds = append(s.kinds, kinds...) })
}

// Forget makes a kind unknown.
func (s *Server) Forget(kind follow.Resource) {
	s.update(func() {
		s.kinds = slices.DeleteFunc(s.kinds, func(k follow.Resource) bool { return k == kind })
		s.epoch++
	})
}

// Break lets the discovery of a group fail.
func (s *Server) Break(group string) { s.update(func() { s.broken[group] = true }) }

// Forbid makes a resource one that may not be read, or may again.
func (s *Server) Forbid(name string, yes bool) { s.update(func() { s.forbidden[name] = yes }) }

// SetCluster gives the namespace kube-system another uid.
func (s *Server) SetCluster(uid string) { s.update(func() { s.cluster = uid }) }

// Send takes a change, whose version is that of the object.
func (s *Server) Send(kind follow.Resource, change string, raw []byte) {
	s.t.Helper()
	s.update(func() { s.send(kind, change, raw) })
}

// SendAll is Send of many changes at once: the beginning of a captured watch is in the order of names.
func (s *Server) SendAll(kind follow.Resource, changes []Change) {
	s.t.Helper()
	s.update(func() {
		for _, c := range changes {
			if c.Type != "BOOKMARK" {
				s.send(kind, c.Type, c.Object)
			}
		}
	})
}

// send needs s.mu.
func (s *Server) send(kind follow.Resource, change string, raw []byte) {
	id, err := follow.Identify(raw)
	if err != nil {
		s.t.Error(err)
	}
	rv, err := strconv.Atoi(id.ResourceVersion)
	if err != nil {
		s.t.Error(err)
	}
	s.log = append(s.log, event{rv, change, kind.FullName(), id.Namespace, id.Name, slices.Clone(raw)})
	slices.SortStableFunc(s.log, func(a, b event) int { return cmp.Compare(a.rv, b.rv) }) // captures of lists are by name
	s.rv = max(s.rv, rv)
}

// Put makes a change of an object that the server versions itself, and returns the version: text is
// JSON in which VERSION stands for it.
func (s *Server) Put(kind follow.Resource, change, text string) (version string) {
	s.update(func() {
		version = strconv.Itoa(s.rv + 1)
		s.send(kind, change, []byte(strings.ReplaceAll(text, "VERSION", version)))
	})
	return version
}

// Bookmark sends one to all watches of a kind.
func (s *Server) Bookmark(kind follow.Resource) {
	s.update(func() {
		s.rv++
		raw := fmt.Sprintf(`{"kind":%q,"apiVersion":%q,"metadata":{"resourceVersion":"%d"}}`, kind.Kind, kind.APIVersion(), s.rv)
		s.log = append(s.log, event{s.rv, "BOOKMARK", kind.FullName(), "", "", []byte(raw)})
	})
}

// Compact makes the server forget all versions but the newest, and Restart ends all watches; what the
// real one does at once when it is restarted.
func (s *Server) Compact() { s.update(func() { s.compacted = s.rv }) }

// Down makes the server answer 503 to everything, and ends all watches; or ends that.
func (s *Server) Down(yes bool) {
	s.update(func() {
		s.down = yes
		s.epoch++
	})
}

// Restart ends all watches.
func (s *Server) Restart() { s.update(func() { s.epoch++ }) }

// Hang lets requests of a path wait for their answer; empty: none.
func (s *Server) Hang(path string) { s.update(func() { s.hangs = path }) }

// Forgetful lets the server answer every watch with 410.
func (s *Server) Forgetful(yes bool) { s.update(func() { s.forgets = yes }) }

// Rewind sets the server back to an earlier version, as if etcd was restored.
func (s *Server) Rewind(rv int) {
	s.update(func() {
		s.rv, s.compacted = rv, 0
		s.log = slices.DeleteFunc(s.log, func(e event) bool { return e.rv > rv })
		s.epoch++
	})
}

// Cut lets the next list break off after some bytes.
func (s *Server) Cut(n int) { s.update(func() { s.cut = n }) }

// Stall lets the next list come to a standstill after some bytes.
func (s *Server) Stall(n int) { s.update(func() { s.cut, s.stalls = n, true }) }

// Version is the newest one.
func (s *Server) Version() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rv
}

// Requests are those so far, as METHOD path?query.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Map is a ConfigMap, nil if there is none; a change to it is one by somebody else.
func (s *Server) Map(name string) *corev1.ConfigMap {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cm := s.maps[name]; cm != nil {
		return cm.DeepCopy()
	}
	return nil
}

// State is what a checkpoint in a ConfigMap has, "" if there is none.
func (s *Server) State(name string) string {
	cm := s.Map(name)
	if cm == nil || len(cm.BinaryData["state.gz"]) == 0 {
		return ""
	}
	z, err := gzip.NewReader(bytes.NewReader(cm.BinaryData["state.gz"]))
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// SetMap writes a ConfigMap, by somebody else; nil deletes it.
func (s *Server) SetMap(name string, cm *corev1.ConfigMap) {
	s.update(func() {
		if cm == nil {
			delete(s.maps, name)
			return
		}
		s.rv++
		cm.ResourceVersion = strconv.Itoa(s.rv)
		s.maps[name] = cm
	})
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, code int, reason metav1.StatusReason, more metav1.Status) {
	more.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	more.Status, more.Code, more.Reason = "Failure", int32(code), reason
	reply(w, code, more)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.String())
	kinds := slices.Clone(s.kinds)
	down := s.down
	for s.hangs == r.URL.Path && r.Context().Err() == nil {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
		}
		s.mu.Lock()
	}
	s.mu.Unlock()
	if down {
		fail(w, 503, metav1.StatusReasonServiceUnavailable, metav1.Status{Message: "apiserver is shutting down"})
		return
	}
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/api":
		reply(w, 200, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
		return
	case r.URL.Path == "/apis":
		s.groups(w, kinds)
		return
	case path[0] == "api" && len(path) == 2:
		s.resources(w, "", "v1", kinds)
		return
	case path[0] == "apis" && len(path) == 3:
		s.resources(w, path[1], path[2], kinds)
		return
	case r.URL.Path == "/api/v1/namespaces/kube-system":
		s.mu.Lock()
		defer s.mu.Unlock()
		reply(w, 200, map[string]any{"kind": "Namespace", "apiVersion": "v1", "metadata": map[string]any{"name": "kube-system", "uid": s.cluster}})
		return
	case strings.Contains(r.URL.Path, "/configmaps"):
		s.configMap(w, r)
		return
	}
	gv := "v1"
	rest := path[2:]
	if path[0] == "apis" {
		gv, rest = path[1]+"/"+path[2], path[3:]
	}
	namespace := ""
	if len(rest) == 3 && rest[0] == "namespaces" {
		namespace, rest = rest[1], rest[2:]
	}
	i := slices.IndexFunc(kinds, func(k follow.Resource) bool { return k.APIVersion() == gv && k.Name == rest[0] })
	switch {
	case i < 0:
		fail(w, 404, metav1.StatusReasonNotFound, metav1.Status{Message: "the server could not find the requested resource"})
	case s.isForbidden(kinds[i].Name):
		fail(w, 403, metav1.StatusReasonForbidden, metav1.Status{Message: kinds[i].Name + " is forbidden: User \"x\" cannot list resource"})
	case r.URL.Query().Get("watch") == "true":
		s.watch(w, r, kinds[i], namespace)
	default:
		s.list(w, r, kinds[i], namespace)
	}
}

func (s *Server) isForbidden(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forbidden[name]
}

func (s *Server) groups(w http.ResponseWriter, kinds []follow.Resource) {
	l := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	s.mu.Lock()
	for g := range s.broken {
		kinds = append(kinds, follow.Resource{Group: g, Version: "v1"})
	}
	s.mu.Unlock()
	for _, k := range kinds {
		v := metav1.GroupVersionForDiscovery{GroupVersion: k.APIVersion(), Version: k.Version}
		i := slices.IndexFunc(l.Groups, func(g metav1.APIGroup) bool { return g.Name == k.Group })
		switch {
		case k.Group == "":
		case i < 0:
			l.Groups = append(l.Groups, metav1.APIGroup{Name: k.Group, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v})
		case !slices.Contains(l.Groups[i].Versions, v):
			l.Groups[i].Versions = append(l.Groups[i].Versions, v)
		}
	}
	reply(w, 200, l)
}

func (s *Server) resources(w http.ResponseWriter, group, version string, kinds []follow.Resource) {
	s.mu.Lock()
	broken := s.broken[group]
	s.mu.Unlock()
	if broken {
		fail(w, 503, metav1.StatusReasonServiceUnavailable, metav1.Status{Message: "the server is currently unable to handle the request"})
		return
	}
	l := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}}
	for _, k := range kinds {
		if k.Group == group && k.Version == version {
			l.GroupVersion = k.APIVersion()
			verbs := metav1.Verbs{"get", "list"}
			if k.Watchable {
				verbs = append(verbs, "watch")
			}
			l.APIResources = append(l.APIResources, metav1.APIResource{Name: k.Name, Kind: k.Kind, Namespaced: k.Namespaced, Verbs: verbs})
		}
	}
	l.GroupVersion = follow.Resource{Group: group, Version: version}.APIVersion()
	reply(w, 200, l)
}

// token is where a list goes on.
type token struct {
	RV    int    // -1: as it is now
	After string // namespace/name
}

func (t token) String() string {
	b, _ := json.Marshal(t)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, k follow.Resource, namespace string) {
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	at := token{RV: s.rv}
	if c := q.Get("continue"); c != "" {
		b, _ := base64.RawURLEncoding.DecodeString(c)
		if err := json.Unmarshal(b, &at); err != nil {
			fail(w, 400, metav1.StatusReasonBadRequest, metav1.Status{Message: "continue key is not valid"})
			return
		}
	} else if q.Get("resourceVersionMatch") == "Exact" {
		at.RV, _ = strconv.Atoi(q.Get("resourceVersion"))
	}
	switch {
	case at.RV == -1:
		at.RV = s.rv
	case at.RV < s.compacted && at.After != "":
		fail(w, 410, metav1.StatusReasonExpired, metav1.Status{ListMeta: metav1.ListMeta{Continue: token{-1, at.After}.String()}, Message: "The provided continue parameter is too old to display a consistent list result."})
		return
	case at.RV < s.compacted:
		fail(w, 410, metav1.StatusReasonExpired, metav1.Status{Message: "The resourceVersion for the provided list is too old."})
		return
	}
	objects := map[string][]byte{}
	for _, e := range s.log {
		if e.rv > at.RV || e.resource != k.FullName() || e.kind == "BOOKMARK" || namespace != "" && e.namespace != namespace {
			continue
		}
		if objects[e.namespace+"/"+e.name] = e.raw; e.kind == follow.Deleted {
			delete(objects, e.namespace+"/"+e.name)
		}
	}
	keys := []string{}
	for key := range objects {
		if key > at.After {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	next, limit := "", len(keys)
	if n, _ := strconv.Atoi(q.Get("limit")); n > 0 && n < limit {
		limit = n
		next = token{at.RV, keys[n-1]}.String()
	}
	metadata := strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadataList")
	var b strings.Builder
	fmt.Fprintf(&b, `{"kind":"%sList","apiVersion":%q,"metadata":{"resourceVersion":"%d","continue":%q},"items":[`, k.Kind, k.APIVersion(), at.RV, next)
	for i, key := range keys[:limit] {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(item(objects[key], metadata))
	}
	b.WriteString("]}\n")
	w.Header().Set("Content-Type", "application/json")
	text := b.String()
	if n := s.cut; n > 0 && n < len(text) && limit > 1 {
		stalls := s.stalls
		s.cut, s.stalls = 0, false
		io.WriteString(w, text[:n])
		w.(http.Flusher).Flush()
		if stalls {
			s.mu.Unlock()
			<-r.Context().Done()
			s.mu.Lock()
		}
		panic(http.ErrAbortHandler)
	}
	io.WriteString(w, text)
}

// item is an object without its kind and apiVersion, as lists have built-in kinds, or its metadata.
func item(raw []byte, metadata bool) []byte {
	var o map[string]json.RawMessage
	_ = json.Unmarshal(raw, &o)
	if metadata {
		o = map[string]json.RawMessage{"metadata": o["metadata"], "kind": []byte(`"PartialObjectMetadata"`), "apiVersion": []byte(`"meta.k8s.io/v1"`)}
	} else if !strings.Contains(string(o["apiVersion"]), ".example.") { // a custom resource has them
		rest := raw
		for _, key := range []string{"kind", "apiVersion"} { // byte for byte but for these two
			if o[key] != nil {
				rest = []byte(strings.Replace(string(rest), fmt.Sprintf("%q:%s,", key, o[key]), "", 1))
			}
		}
		return rest
	}
	b, _ := json.Marshal(o)
	return b
}

func (s *Server) watch(w http.ResponseWriter, r *http.Request, k follow.Resource, namespace string) {
	from, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	if err != nil {
		fail(w, 400, metav1.StatusReasonBadRequest, metav1.Status{Message: "no version"})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(200)
	w.(http.Flusher).Flush()
	s.mu.Lock()
	epoch := s.epoch
	if from < s.compacted || s.forgets {
		s.mu.Unlock()
		io.WriteString(w, `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version: 1 (2321)","reason":"Expired","code":410}}`+"\n")
		return
	}
	hangs := from > s.rv
	s.mu.Unlock()
	for {
		s.mu.Lock()
		changed := s.changed
		over := s.epoch != epoch
		var send []event
		for _, e := range s.log {
			if !hangs && e.rv > from && e.resource == k.FullName() && (e.kind == "BOOKMARK" || namespace == "" || e.namespace == namespace) {
				send = append(send, e)
			}
		}
		if len(send) > 0 {
			from = send[len(send)-1].rv
		}
		s.mu.Unlock()
		if over {
			panic(http.ErrAbortHandler)
		}
		for _, e := range send {
			fmt.Fprintf(w, `{"type":%q,"object":%s}`+"\n", e.kind, e.raw)
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Server) configMap(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if s.forbidden["configmaps"] {
		fail(w, 403, metav1.StatusReasonForbidden, metav1.Status{Message: "configmaps is forbidden"})
		return
	}
	if r.Method == http.MethodGet {
		if s.maps[name] == nil {
			fail(w, 404, metav1.StatusReasonNotFound, metav1.Status{Message: "not found"})
			return
		}
		reply(w, 200, s.maps[name])
		return
	}
	body, _ := io.ReadAll(r.Body)
	o, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		fail(w, 400, metav1.StatusReasonBadRequest, metav1.Status{Message: err.Error()})
		return
	}
	cm := o.(*corev1.ConfigMap)
	old := s.maps[cm.Name]
	switch {
	case r.Method == http.MethodPost && old != nil:
		fail(w, 409, metav1.StatusReasonAlreadyExists, metav1.Status{Message: "exists"})
		return
	case r.Method == http.MethodPut && old == nil:
		fail(w, 404, metav1.StatusReasonNotFound, metav1.Status{Message: "not found"})
		return
	case r.Method == http.MethodPut && cm.ResourceVersion != old.ResourceVersion:
		fail(w, 409, metav1.StatusReasonConflict, metav1.Status{Message: "the object has been modified"})
		return
	}
	s.rv++
	cm.ResourceVersion = strconv.Itoa(s.rv)
	cm.TypeMeta = metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}
	s.maps[cm.Name] = cm
	reply(w, 200, cm)
}
