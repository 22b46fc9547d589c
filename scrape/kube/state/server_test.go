package state

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// apiServer lists and watches what it is given, as a Kubernetes API server does, in JSON.
type apiServer struct {
	t   testing.TB
	url string

	mu        sync.Mutex
	resources map[string]*served // by path without namespace: /api/v1/pods
	version   int
	changed   chan struct{} // closed at each change
	requests  []string
}

// served is a kind of object.
type served struct {
	objects          map[string]object // by namespace/name
	events           []event
	oldest           int    // a watch from before this has expired
	status           int    // instead of an answer
	reason           string // of the status
	noStreams        bool   // lists can't be streamed
	listed, streamed int
	accepts          string // of the last list
}

type object = map[string]any

type event struct {
	version int
	typ     string
	object  object
}

func newAPIServer(t testing.TB) *apiServer {
	a := &apiServer{t: t, resources: map[string]*served{}, changed: make(chan struct{}), version: 1000}
	for i := range kinds {
		a.resources[kinds[i].path()] = &served{objects: map[string]object{}}
	}
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections)
	a.url = srv.URL
	return a
}

// path is where a kind is served.
func (k *kind) path() string {
	switch k.group {
	case "":
		return "/api/v1/" + k.name
	case "autoscaling":
		return "/apis/autoscaling/v2/" + k.name
	}
	return "/apis/" + k.group + "/v1/" + k.name
}

// captured reads a list that a real server sent.
func (a *apiServer) captured(name string) {
	a.t.Helper()
	var list struct {
		Kind, APIVersion string
		Items            []object
	}
	if err := json.Unmarshal(unzip(a.t, filepath.Join("testdata/apiserver", name+".json.gz")), &list); err != nil {
		a.t.Fatal(err)
	}
	for _, o := range list.Items {
		o["kind"], o["apiVersion"] = strings.TrimSuffix(list.Kind, "List"), list.APIVersion
		a.set(name, o)
	}
}

func unzip(t testing.TB, file string) []byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (a *apiServer) of(name string) *served {
	a.t.Helper()
	for path, r := range a.resources {
		if strings.HasSuffix(path, "/"+name) {
			return r
		}
	}
	a.t.Fatalf("no kind %s", name)
	return nil
}

// set creates or changes an object, as JSON text or decoded.
func (a *apiServer) set(name string, o object) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.of(name)
	a.version++
	m := o["metadata"].(map[string]any)
	m["resourceVersion"] = strconv.Itoa(a.version)
	k := fmt.Sprint(m["namespace"], "/", m["name"])
	typ := "ADDED"
	if _, ok := r.objects[k]; ok {
		typ = "MODIFIED"
	}
	r.objects[k] = o
	a.tell(r, typ, o)
}

// delete deletes an object; silent: no watch gets to know, and all have expired.
func (a *apiServer) delete(name, namespaced string, silent bool) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.of(name)
	o, ok := r.objects[namespaced]
	if !ok {
		a.t.Fatalf("no %s %s to delete", name, namespaced)
	}
	delete(r.objects, namespaced)
	a.version++
	o = maps.Clone(o)
	m := maps.Clone(o["metadata"].(map[string]any))
	m["resourceVersion"] = strconv.Itoa(a.version)
	o["metadata"] = m
	if silent {
		r.events, r.oldest = nil, a.version
		close(a.changed)
		a.changed = make(chan struct{})
		return
	}
	a.tell(r, "DELETED", o)
}

// tell needs a.mu.
func (a *apiServer) tell(r *served, typ string, o object) {
	r.events = append(r.events, event{a.version, typ, o})
	close(a.changed)
	a.changed = make(chan struct{})
}

// refuse makes a kind answer with a status; 0: not any more.
func (a *apiServer) refuse(name string, status int, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.of(name)
	r.status, r.reason = status, reason
}

// ServeHTTP implements http.Handler.
func (a *apiServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path, namespace := req.URL.Path, ""
	if i := strings.Index(path, "/namespaces/"); i >= 0 {
		var kind string
		namespace, kind, _ = strings.Cut(path[i+len("/namespaces/"):], "/")
		path = path[:i+1] + kind
	}
	a.mu.Lock()
	a.requests = append(a.requests, req.URL.String())
	r := a.resources[path]
	if r == nil {
		a.mu.Unlock()
		refuse(w, 404, "NotFound", "the server could not find the requested resource")
		return
	}
	status, reason := r.status, r.reason
	a.mu.Unlock()
	if status != 0 {
		refuse(w, status, reason, fmt.Sprintf("%s is forbidden: User \"system:serviceaccount:stint:stint-cluster\" cannot list resource", path))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if req.FormValue("watch") != "" {
		a.watch(w, req, r, namespace)
		return
	}
	a.list(w, req, r, namespace)
}

func refuse(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": message})
}

// visible needs a.mu.
func (r *served) visible(namespace string) (all []object) {
	for _, k := range slices.Sorted(maps.Keys(r.objects)) {
		if namespace == "" || strings.HasPrefix(k, namespace+"/") {
			all = append(all, r.objects[k])
		}
	}
	return all
}

func (a *apiServer) list(w http.ResponseWriter, req *http.Request, r *served, namespace string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r.listed++
	r.accepts = req.Header.Get("Accept")
	all := r.visible(namespace)
	from, _ := strconv.Atoi(req.FormValue("continue"))
	limit, _ := strconv.Atoi(req.FormValue("limit"))
	meta := object{"resourceVersion": strconv.Itoa(a.version)}
	all = all[from:]
	if limit > 0 && len(all) > limit {
		meta["continue"] = strconv.Itoa(from + limit)
		all = all[:limit]
	}
	kind, version := listKind(req.URL.Path)
	json.NewEncoder(w).Encode(object{"kind": kind, "apiVersion": version, "metadata": meta, "items": all})
}

// listKind names the list that is empty.
func listKind(path string) (kind, version string) {
	for i := range kinds {
		if k := &kinds[i]; strings.HasSuffix(path, "/"+k.name) {
			if _, ok := k.object.(*metav1.PartialObjectMetadata); ok {
				return "PartialObjectMetadataList", "meta.k8s.io/v1"
			}
			version = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSuffix(k.path(), "/"+k.name), "/apis/"), "/api/")
			return strings.TrimPrefix(fmt.Sprintf("%T", k.object)[strings.Index(fmt.Sprintf("%T", k.object), "."):], ".") + "List", version
		}
	}
	return "List", "v1"
}

func (a *apiServer) watch(w http.ResponseWriter, req *http.Request, r *served, namespace string) {
	enc := json.NewEncoder(w)
	send := func(typ string, o object) { enc.Encode(object{"type": typ, "object": o}) }
	kind, version := listKind(req.URL.Path)
	bookmark := func(at int, annotations object) {
		send("BOOKMARK", object{"kind": strings.TrimSuffix(kind, "List"), "apiVersion": version, "metadata": object{"resourceVersion": strconv.Itoa(at), "annotations": annotations}})
	}
	from, _ := strconv.Atoi(req.FormValue("resourceVersion"))
	a.mu.Lock()
	if req.FormValue("sendInitialEvents") == "true" {
		if r.noStreams {
			a.mu.Unlock()
			refuse(w, 422, "Invalid", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
			return
		}
		r.streamed++
		for _, o := range r.visible(namespace) {
			send("ADDED", o)
		}
		from = a.version
		bookmark(from, object{"k8s.io/initial-events-end": "true"})
	} else if from < r.oldest {
		a.mu.Unlock()
		// As captured: 200, then an event.
		send("ERROR", object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410, "message": fmt.Sprintf("too old resource version: %d (%d)", from, r.oldest)})
		return
	}
	w.(http.Flusher).Flush()
	for {
		if r.oldest > from { // what it would have to send is forgotten
			a.mu.Unlock()
			send("ERROR", object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old resource version"})
			return
		}
		for _, e := range r.events {
			if e.version > from && (namespace == "" || e.object["metadata"].(map[string]any)["namespace"] == namespace) {
				send(e.typ, e.object)
				from = e.version
			}
		}
		changed := a.changed
		a.mu.Unlock()
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-req.Context().Done():
			return
		}
		a.mu.Lock()
	}
}
