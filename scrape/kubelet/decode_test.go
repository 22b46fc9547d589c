package kubelet

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"
)

// samePod compares what is kept of two pods; nil and empty lists are one.
func samePod(a, b *Pod) string {
	return cmp.Diff(a, b, cmpopts.IgnoreUnexported(Pod{}), cmpopts.IgnoreFields(Pod{}, "Trimmed"), cmpopts.EquateEmpty())
}

// TestCapturedEvents compares every captured message with what the recorder, which used the
// kubelet's own types, noted of it.
func TestCapturedEvents(t *testing.T) {
	notes := json.NewDecoder(bytes.NewReader(captured(t, "podsapi_watch.jsonl")))
	kinds := map[uint64]string{eventAdded: "ADDED", eventModified: "MODIFIED", eventDeleted: "DELETED", eventInitialSync: "INITIAL_SYNC_COMPLETE"}
	events := capturedEvents(t)
	if len(events) != 60 {
		t.Fatalf("%d messages, want 60", len(events))
	}
	for i, msg := range events {
		var want struct {
			Type, UID, Phase, Pod, PodIP                  string
			Bytes, Labels, Annotations, ContainerStatuses int
		}
		if err := notes.Decode(&want); err != nil {
			t.Fatal(err)
		}
		var err error
		var kind uint64
		var data []byte
		for f := range fields(msg, &err) {
			if f.num == 1 {
				kind = f.n
			} else {
				data = f.data
			}
		}
		if err != nil || kinds[kind] != want.Type || len(data) != want.Bytes {
			t.Fatalf("message %d: type %d, %d bytes, %v; want %s, %d bytes", i, kind, len(data), err, want.Type, want.Bytes)
		}
		if kind == eventInitialSync {
			continue
		}
		p, err := decodePod(data, texts{})
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		annotations := len(p.Annotations)
		if bytes.Contains(data, []byte(lastApplied)) {
			annotations++
		}
		ids := 0
		for _, c := range p.Containers {
			if c.ID != "" && len(c.ID) != 64 {
				t.Errorf("message %d: container id %q", i, c.ID)
			}
			if c.Running && c.ID == "" {
				t.Errorf("message %d: %s runs without an id", i, c.Name)
			}
			if c.ID != "" {
				ids++
			}
		}
		if ids > want.ContainerStatuses+1 { // one pod has an init container
			t.Errorf("message %d: %d containers have ids, want at most %d", i, ids, want.ContainerStatuses)
		}
		if got := p.Namespace + "/" + p.Name; got != want.Pod || p.UID != want.UID || p.Phase != want.Phase || p.IP != want.PodIP || len(p.Labels) != want.Labels || annotations != want.Annotations {
			t.Errorf("message %d: %s %s %s %s, %d labels, %d annotations, want %+v", i, got, p.UID, p.Phase, p.IP, len(p.Labels), annotations, want)
		}
	}
}

// TestCapturedJSON compares the answer to /pods with a reading of it that knows no fields.
func TestCapturedJSON(t *testing.T) {
	var list struct{ Items []map[string]any }
	if err := json.Unmarshal(captured(t, "pods.json"), &list); err != nil {
		t.Fatal(err)
	}
	at := func(v any, path string) any {
		for key := range strings.SplitSeq(path, ".") {
			m, _ := v.(map[string]any)
			v = m[key]
		}
		return v
	}
	pods := capturedPods(t)
	if len(pods) != len(list.Items) || len(pods) != 35 {
		t.Fatalf("%d pods, want 35", len(pods))
	}
	for i, item := range list.Items {
		p := pods[i]
		str := func(path string) string { s, _ := at(item, path).(string); return s }
		if p.UID != str("metadata.uid") || p.Name != str("metadata.name") || p.Namespace != str("metadata.namespace") || p.NodeName != "lab-node-1" ||
			p.IP != str("status.podIP") || p.Phase != str("status.phase") || p.HostNetwork != (at(item, "spec.hostNetwork") == true) {
			t.Errorf("%s: %+v", str("metadata.name"), p)
		}
		labels, _ := at(item, "metadata.labels").(map[string]any)
		if len(p.Labels) != len(labels) {
			t.Errorf("%s: labels %v, want %v", p.Name, p.Labels, labels)
		}
		for k, v := range labels {
			if p.Labels[k] != v {
				t.Errorf("%s: label %s is %q, want %q", p.Name, k, p.Labels[k], v)
			}
		}
		states, _ := at(item, "status.containerStatuses").([]any)
		for _, s := range states {
			j := slices.IndexFunc(p.Containers, func(c Container) bool { return c.Name == at(s, "name") && c.Kind == Regular })
			if j < 0 {
				t.Fatalf("%s: no container %v", p.Name, at(s, "name"))
			}
			c := p.Containers[j]
			id, _ := at(s, "containerID").(string)
			if "containerd://"+c.ID != id && id != "" || c.Running != (at(s, "state.running") != nil) || float64(c.RestartCount) != at(s, "restartCount") || c.ImageID != at(s, "imageID") {
				t.Errorf("%s: container %+v, want %v", p.Name, c, s)
			}
		}
		volumes, _ := at(item, "spec.volumes").([]any)
		for j, v := range volumes {
			if got := p.Volumes[j]; got.Name != at(v, "name") || at(v, got.Type) == nil {
				t.Errorf("%s: volume %+v, want %v", p.Name, got, v)
			}
		}
	}
	// Sizes as the manifests have them, and a claim.
	by := map[string]*Pod{}
	for _, p := range pods {
		by[p.Name] = p
	}
	want := Container{Name: "main", Image: "localhost/lab/tool:1", CPURequest: 0.01, CPULimit: 0.1, MemoryRequest: 16 << 20, MemoryLimit: 64 << 20, Running: true}
	if diff := cmp.Diff(want, by["volumes"].Containers[0], cmpopts.IgnoreFields(Container{}, "ID", "ImageID")); diff != "" {
		t.Errorf("shop/volumes (-want +got):\n%s", diff)
	}
	if v := by["ledger-0"].Volumes[0]; v.Type != claimVolume || v.Claim == "" {
		t.Errorf("shop/ledger-0: volume %+v, want one with a claim", v)
	}
}

// TestSourcesAgree compares what the Pods API and /pods said of the same pods, some seconds
// apart: all that does not change in a pod's life.
func TestSourcesAgree(t *testing.T) {
	in := texts{}
	watched := map[string]*Pod{}
	for _, msg := range capturedEvents(t) {
		if data, n := protowire.ConsumeBytes(msg[min(3, len(msg)):]); n > 0 {
			p, err := decodePod(data, in)
			if err != nil {
				t.Fatal(err)
			}
			watched[p.UID] = p
		}
	}
	steady := cmp.Options{
		cmpopts.IgnoreUnexported(Pod{}), cmpopts.IgnoreFields(Pod{}, "Phase", "IP"),
		cmpopts.IgnoreFields(Container{}, "ID", "ImageID", "RestartCount", "Running"),
	}
	both, alike := 0, 0
	for _, polled := range capturedPods(t) {
		w := watched[polled.UID]
		if w == nil {
			continue
		}
		both++
		if diff := cmp.Diff(w, polled, steady); diff != "" {
			t.Errorf("%s/%s (-Pods API +/pods):\n%s", w.Namespace, w.Name, diff)
		}
		if w.same(polled) {
			alike++
		}
	}
	// Pods that nothing happened to in between are the same to the last field.
	if both < 12 || alike < 4 {
		t.Errorf("%d pods are in both captures, %d of them unchanged, want 12 and 4 at least", both, alike)
	}
}

func TestQuantity(t *testing.T) {
	for s, want := range map[string]float64{
		"0": 0, "2": 2, "250m": 0.25, "7m": 0.007, "100n": 1e-7, "5u": 5e-6, "1.5": 1.5, ".5": 0.5, "64Mi": 64 << 20, "1Gi": 1 << 30, "1.5Ki": 1536,
		"1k": 1000, "2M": 2e6, "3G": 3e9, "1E": 1e18, "1E3": 1000, "1e3": 1000, "2Ei": 2 << 60, "+1": 1,
		"": 0, "-1": 0, "inf": 0, "nan": 0, "0x10": 0, "1_0": 0, "Mi": 0, "m": 0, "1Q": 0, "1e999": 0, "1e308Ei": 0,
	} {
		if got := quantity(s); got != want {
			t.Errorf("quantity(%q) = %g, want %g", s, got, want)
		}
	}
	for s, want := range map[string]int64{"1500m": 2, "1e30": 1 << 62, "8Mi": 8 << 20} {
		if got := wholeBytes(s); got != want {
			t.Errorf("wholeBytes(%q) = %d, want %d", s, got, want)
		}
	}
}

// TestPodBounds: what one author can make us keep is bounded, the same way from both sources.
func TestPodBounds(t *testing.T) {
	big := &Pod{Namespace: "n", Name: "p", UID: "u", Labels: map[string]string{}, Annotations: map[string]string{}}
	for i := range 200 {
		n := strconv.Itoa(1000 + i)
		big.Labels["l"+n] = "v"
		big.Annotations["a"+n] = strings.Repeat("x", 300)
		big.Volumes = append(big.Volumes, Volume{Name: "v" + n, Type: "emptyDir"}, Volume{Name: "w" + n, Type: "secret"})
	}
	big.Annotations["a0"] = strings.Repeat("y", maxText+1)
	big.Annotations[lastApplied] = "{}"
	for i := range 300 {
		big.Containers = append(big.Containers, Container{Name: "c" + strconv.Itoa(i), Image: strings.Repeat("i", maxText+1)})
	}
	p, err := decodePod(appendPod(nil, big), texts{})
	if err != nil {
		t.Fatal(err)
	}
	// 26 annotations of 305 bytes fit into 8 KiB.
	if len(p.Labels) != 64 || len(p.Annotations) != 26 || len(p.Containers) != 256 || len(p.Volumes) != 256 || p.Containers[0].Image != "" {
		t.Errorf("%d labels, %d annotations, %d containers, %d volumes, image %q", len(p.Labels), len(p.Annotations), len(p.Containers), len(p.Volumes), p.Containers[0].Image)
	}
	if want := 136 + 175 + 44 + 144; p.Trimmed != want {
		t.Errorf("%d things are trimmed, want %d", p.Trimmed, want)
	}
	pods, bad, err := decodePods(bytes.NewReader(jsonList(t, big)), texts{})
	if err != nil || bad != nil || len(pods) != 1 || !pods[0].same(p) {
		t.Errorf("from JSON: %d pods, %v, %v, or another one than from protobuf", len(pods), bad, err)
	}
}

func TestMirrorPodHasTheHash(t *testing.T) {
	p, err := decodePod(appendPod(nil, &Pod{UID: "b1", Annotations: map[string]string{"kubernetes.io/config.mirror": "4033", "kubernetes.io/config.hash": "4033"}}), texts{})
	if err != nil || p.UID != "4033" || !p.mirror {
		t.Errorf("got %+v, %v; want uid 4033 of a mirror", p, err)
	}
	p, err = decodePod(appendPod(nil, &Pod{UID: "b1", Annotations: map[string]string{"kubernetes.io/config.hash": "4033"}}), texts{})
	if err != nil || p.UID != "b1" {
		t.Errorf("got %+v, %v; want its own uid: anybody can write that annotation", p, err)
	}
}

func TestListsThatAreNone(t *testing.T) {
	for name, body := range map[string]string{
		"empty": "", "not JSON": "<html>", "array": "[]", "other object": `{"kind":"Status","status":"Failure"}`,
		"items is text": `{"items":"none"}`, "cut in a pod": `{"items":[{"metadata":{"uid":"1"`, "cut after a pod": `{"items":[{"metadata":{"uid":"1"}}`, "cut before items": `{"kind":"Pod`,
	} {
		if pods, _, err := decodePods(strings.NewReader(body), texts{}); err == nil {
			t.Errorf("%s: %d pods, want an error", name, len(pods))
		}
	}
	pods, bad, err := decodePods(strings.NewReader(`{"metadata":{},"items":[{"metadata":{"uid":"1"}},{"metadata":{"uid":2}},{"spec":{}},7,
		{"metadata":{"uid":"v"},"spec":{"volumes":[{"name":7}]}},{"metadata":{"uid":"w"},"spec":{"volumes":[{"persistentVolumeClaim":7}]}},{"metadata":{"uid":"3"}}]}`), texts{})
	if err != nil || bad == nil || len(pods) != 2 {
		t.Errorf("pods among garbage: %d, %v, %v; want 2 and a word about the others", len(pods), bad, err)
	}
	if pods, bad, err := decodePods(strings.NewReader(`{"items":null}`), texts{}); err != nil || bad != nil || len(pods) != 0 {
		t.Errorf("a node without pods: %d, %v, %v", len(pods), bad, err)
	}
}

// appendPod encodes a pod as the kubelet does, for what decodePod reads.
func appendPod(b []byte, p *Pod) []byte {
	str := func(b []byte, num protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
	}
	sub := func(b []byte, num protowire.Number, msg []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), msg)
	}
	num := func(b []byte, n protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
	}
	bit := map[bool]uint64{true: 1}

	meta := str(str(str(nil, 1, p.Name), 3, p.Namespace), 5, p.UID)
	for _, k := range slices.Sorted(maps.Keys(p.Labels)) {
		meta = sub(meta, 11, str(str(nil, 1, k), 2, p.Labels[k]))
	}
	for _, k := range slices.Sorted(maps.Keys(p.Annotations)) {
		meta = sub(meta, 12, str(str(nil, 1, k), 2, p.Annotations[k]))
	}
	if p.Owner != (Owner{}) {
		meta = sub(meta, 13, num(str(str(nil, 1, p.Owner.Kind), 3, p.Owner.Name), 6, 1))
	}
	var spec, status []byte
	for _, v := range p.Volumes {
		var source []byte
		for n, name := range volumeTypes {
			if name != v.Type {
				continue
			}
			var body []byte
			if name == claimVolume {
				body = str(nil, 1, v.Claim)
			}
			source = sub(nil, n, body)
		}
		spec = sub(spec, 1, sub(str(nil, 1, v.Name), 2, source))
	}
	spec = num(str(spec, 10, p.NodeName), 11, bit[p.HostNetwork])
	status = str(str(nil, 1, p.Phase), 6, p.IP)
	for _, c := range p.Containers {
		entry := func(b []byte, n protowire.Number, name, amount string) []byte {
			return sub(b, n, sub(str(nil, 1, name), 2, str(nil, 1, amount)))
		}
		r := entry(entry(nil, 1, "cpu", cores(c.CPULimit)), 1, "memory", strconv.FormatInt(c.MemoryLimit, 10))
		r = entry(entry(r, 2, "cpu", cores(c.CPURequest)), 2, "memory", strconv.FormatInt(c.MemoryRequest, 10))
		body := sub(str(str(nil, 1, c.Name), 2, c.Image), 8, r)
		state := num(nil, 99, 1)
		if c.Running {
			state = sub(nil, 2, nil)
		}
		st := str(str(num(sub(str(nil, 1, c.Name), 2, state), 5, uint64(int64(c.RestartCount))), 7, c.ImageID), 8, "containerd://"+c.ID)
		switch c.Kind {
		case Init:
			spec, status = sub(spec, 20, body), sub(status, 10, st)
		case Regular:
			spec, status = sub(spec, 2, body), sub(status, 8, st)
		case Ephemeral:
			spec, status = sub(spec, 34, sub(nil, 1, body)), sub(status, 13, st)
		}
	}
	return sub(sub(sub(b, 1, meta), 2, spec), 3, status)
}

func cores(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// jsonList encodes pods as the kubelet does, for what decodePods reads.
func jsonList(t testing.TB, pods ...*Pod) []byte {
	t.Helper()
	type obj = map[string]any
	items := []obj{}
	for _, p := range pods {
		spec := obj{"nodeName": p.NodeName, "hostNetwork": p.HostNetwork}
		status := obj{"phase": p.Phase, "podIP": p.IP}
		for kind, name := range map[Kind]string{Regular: "container", Init: "initContainer", Ephemeral: "ephemeralContainer"} {
			var specs, states []obj
			for _, c := range p.Containers {
				if c.Kind != kind {
					continue
				}
				specs = append(specs, obj{"name": c.Name, "image": c.Image, "resources": obj{
					"limits":   obj{"cpu": cores(c.CPULimit), "memory": strconv.FormatInt(c.MemoryLimit, 10)},
					"requests": obj{"cpu": cores(c.CPURequest), "memory": strconv.FormatInt(c.MemoryRequest, 10)},
				}})
				state := obj{"waiting": obj{"reason": "ContainerCreating"}}
				if c.Running {
					state = obj{"running": obj{"startedAt": "2026-11-22T15:45:24Z"}}
				}
				states = append(states, obj{"name": c.Name, "state": state, "restartCount": c.RestartCount, "imageID": c.ImageID, "containerID": "containerd://" + c.ID})
			}
			spec[name+"s"], status[name+"Statuses"] = specs, states
		}
		var volumes []obj
		for _, v := range p.Volumes {
			o := obj{"name": v.Name}
			if v.Type != "" {
				o[v.Type] = obj{"claimName": v.Claim}
			}
			volumes = append(volumes, o)
		}
		spec["volumes"] = volumes
		meta := obj{"namespace": p.Namespace, "name": p.Name, "uid": p.UID, "labels": p.Labels, "annotations": p.Annotations}
		if p.Owner != (Owner{}) {
			meta["ownerReferences"] = []obj{{"kind": "Bystander", "name": "x"}, {"kind": p.Owner.Kind, "name": p.Owner.Name, "controller": true}}
		}
		items = append(items, obj{"metadata": meta, "spec": spec, "status": status})
	}
	data, err := json.Marshal(obj{"kind": "PodList", "apiVersion": "v1", "metadata": obj{}, "items": items})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRandomPods: what the encoders write comes back, whatever a pod looks like.
func TestRandomPods(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		return []string{"", "a", "web", "kube-system", "grüße", strings.Repeat("x", 1000)}[r.IntN(6)]
	}
	types := slices.Sorted(maps.Values(volumeTypes))
	for range 300 {
		p := &Pod{
			Namespace: word(), Name: word(), UID: strconv.Itoa(r.Int()), NodeName: word(), IP: word(), HostNetwork: r.IntN(2) == 0, Phase: word(),
			Owner: Owner{word(), word()}, Labels: map[string]string{}, Annotations: map[string]string{},
		}
		for i := range r.IntN(5) {
			p.Labels["label"+strconv.Itoa(i)], p.Annotations["annotation"+strconv.Itoa(i)] = word(), word()
		}
		for kind, n := range []int{Init: r.IntN(3), Regular: r.IntN(4), Ephemeral: r.IntN(2)} {
			for i := range n {
				p.Containers = append(p.Containers, Container{
					Name: word() + strconv.Itoa(i), Kind: Kind(kind), ID: word(), Image: word(), ImageID: word(), RestartCount: r.IntN(1 << 31), Running: r.IntN(2) == 0,
					CPURequest: float64(r.IntN(9000)) / 1000, CPULimit: float64(r.IntN(9)), MemoryRequest: r.Int64N(1 << 50), MemoryLimit: r.Int64N(1 << 50),
				})
			}
		}
		slices.SortStableFunc(p.Containers, func(a, b Container) int { return kindOrder[a.Kind] - kindOrder[b.Kind] })
		for range r.IntN(4) {
			v := Volume{Name: word(), Type: types[r.IntN(len(types))]}
			switch v.Type {
			case claimVolume:
				v.Claim = word()
			case "ephemeral":
				v.Claim = p.Name + "-" + v.Name
			}
			p.Volumes = append(p.Volumes, v)
		}
		checkPod(t, p)
	}
}

// checkPod checks what holds for every pod, whatever bytes it came from: it is within the bounds,
// and comes back the same from either encoding.
func checkPod(t *testing.T, p *Pod) {
	t.Helper()
	if p.UID == "" || len(p.Labels) > maxMapEntries || len(p.Annotations) > maxMapEntries || len(p.Containers) > maxParts || len(p.Volumes) > maxParts {
		t.Fatalf("over the bounds: %+v", p)
	}
	for _, m := range []map[string]string{p.Labels, p.Annotations} {
		size := 0
		for k, v := range m {
			size += len(k) + len(v)
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				t.Fatalf("not UTF-8: %q: %q", k, v)
			}
		}
		if size > maxMapBytes {
			t.Fatalf("%d bytes: %v", size, m)
		}
	}
	again, err := decodePod(appendPod(nil, p), texts{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := samePod(p, again); diff != "" {
		t.Fatalf("through protobuf (-before +after):\n%s", diff)
	}
	list, bad, err := decodePods(bytes.NewReader(jsonList(t, p)), texts{})
	if err != nil || bad != nil || len(list) != 1 {
		t.Fatal(len(list), bad, err)
	}
	if diff := samePod(p, list[0]); diff != "" {
		t.Fatalf("through JSON (-before +after):\n%s", diff)
	}
}

func FuzzDecodePod(f *testing.F) {
	for i, msg := range capturedEvents(f) {
		if i%6 == 0 {
			f.Add(msg[min(5, len(msg)):]) // type, tag and length are 5 bytes
		}
	}
	for _, p := range capturedPods(f)[:8] {
		f.Add(appendPod(nil, p))
	}
	f.Add(appendPod(nil, &Pod{UID: "u", Containers: []Container{{Name: "d", Kind: Ephemeral, RestartCount: -1, CPULimit: 0.007}}, Volumes: []Volume{{Name: "v", Type: "ephemeral"}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := decodePod(data, texts{}); err == nil {
			checkPod(t, p)
		}
	})
}

func FuzzDecodePods(f *testing.F) {
	pods := capturedPods(f)
	f.Add(jsonList(f, pods[0], pods[1]))
	f.Add(jsonList(f, pods[21], pods[4]))
	f.Add([]byte(`{"kind":"PodList","items":[{"metadata":{"uid":"a"}},3]}`))
	f.Add([]byte(`{"items":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		pods, _, err := decodePods(bytes.NewReader(data), texts{})
		if err != nil && len(pods) > 0 {
			t.Fatalf("%d pods of a list that is an error: %v", len(pods), err)
		}
		for _, p := range pods[:min(len(pods), 10)] {
			checkPod(t, p)
		}
	})
}

// BenchmarkDecode decodes 250 pods: as events of the Pods API, whole ones as captured, and as an
// answer to /pods made of the captured 35.
func BenchmarkDecode(b *testing.B) {
	b.Run("protobuf/pods=250", func(b *testing.B) {
		var msgs [][]byte
		bytes := 0
		for _, msg := range capturedEvents(b) {
			if len(msg) > 100 {
				msgs = append(msgs, msg[3:])
			}
		}
		for i := range 250 {
			bytes += len(msgs[i%len(msgs)])
		}
		b.SetBytes(int64(bytes))
		b.ReportAllocs()
		in := texts{}
		for b.Loop() {
			for i := range 250 {
				data, _ := protowire.ConsumeBytes(msgs[i%len(msgs)])
				if _, err := decodePod(data, in); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("json/pods=250", func(b *testing.B) {
		var list struct{ Items []json.RawMessage }
		if err := json.Unmarshal(captured(b, "pods.json"), &list); err != nil {
			b.Fatal(err)
		}
		var items [][]byte
		for i := range 250 {
			items = append(items, list.Items[i%len(list.Items)])
		}
		body := slices.Concat([]byte(`{"kind":"PodList","items":[`), bytes.Join(items, []byte(",")), []byte("]}"))
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		in := texts{}
		for b.Loop() {
			pods, bad, err := decodePods(bytes.NewReader(body), in)
			if err != nil || bad != nil || len(pods) != 250 {
				b.Fatal(len(pods), bad, err)
			}
		}
	})
}
