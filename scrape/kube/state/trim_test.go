package state

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"stint/scrape/kube/replay"
)

func encodedPod(t testing.TB, o runtime.Object) []byte {
	t.Helper()
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		t.Fatal("no protobuf")
	}
	var buf bytes.Buffer
	if err := scheme.Codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion).Encode(o, &buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// fill gives every field a value: maps and lists two entries, pointers something to point at.
func fill(v reflect.Value, r *rand.Rand, depth int) {
	switch v.Interface().(type) {
	case metav1.Time:
		v.Set(reflect.ValueOf(metav1.NewTime(time.Unix(r.Int64N(1<<31), 0).Local())))
		return
	case resource.Quantity:
		v.Set(reflect.ValueOf(*resource.NewMilliQuantity(r.Int64N(1<<40), resource.DecimalSI)))
		return
	case metav1.FieldsV1:
		return // its bytes are its own business
	}
	switch v.Kind() {
	case reflect.String:
		words := []string{"a", "b", "team-1", "cpu", "memory", "True", "Ready", "Running", "Failed", "PodScheduled", "containerd://12", "Always", "ReplicaSet", "apps/v1"}
		v.SetString(words[r.IntN(len(words))])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(r.Int64N(1000))
	case reflect.Uint8:
		v.SetUint(r.Uint64N(256))
	case reflect.Pointer:
		if depth > 0 && r.IntN(4) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), r, depth-1)
		}
	case reflect.Slice:
		if depth > 0 {
			v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
			for i := range v.Len() {
				fill(v.Index(i), r, depth-1)
			}
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(3) {
			key, val := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(key, r, depth-1)
			fill(val, r, depth-1)
			v.SetMapIndex(key, val)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), r, depth-1)
			}
		}
	}
}

func anyPod(seed uint64) *corev1.Pod {
	p := &corev1.Pod{}
	fill(reflect.ValueOf(p).Elem(), rand.New(rand.NewPCG(seed, 1)), 10)
	p.TypeMeta = metav1.TypeMeta{}
	return p
}

// decoders are that of client-go and the one that trims.
func decoders(t testing.TB, cfg Config) (whole, trim runtime.Decoder) {
	t.Helper()
	var d [2]runtime.Decoder
	for i, n := range negotiators(cfg) {
		var err error
		if d[i], err = n.Decoder(runtime.ContentTypeProtobuf, nil); err != nil {
			t.Fatal(err)
		}
	}
	return d[0], d[1]
}

func negotiators(cfg Config) [2]runtime.ClientNegotiator {
	codecs := rest.CodecFactoryForGeneratedClient(scheme.Scheme, scheme.Codecs).WithoutConversion()
	return [2]runtime.ClientNegotiator{
		runtime.NewClientNegotiator(codecs, corev1.SchemeGroupVersion),
		runtime.NewClientNegotiator(newTrimmed(codecs, podCut(cfg, cfg.on())), corev1.SchemeGroupVersion),
	}
}

// sameRow compares the rows of a pod that was decoded whole and of one that was trimmed.
func sameRow(t *testing.T, st *store, whole, trim *corev1.Pod) {
	t.Helper()
	a, err := st.transform(whole)
	if err != nil {
		t.Fatal(err)
	}
	b, err := st.transform(trim)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("a trimmed pod has another row\n%+v\nthan a whole one\n%+v\n%+v", b, a, whole)
	}
	if whole.ResourceVersion != trim.ResourceVersion || whole.Annotations[metav1.InitialEventsAnnotationKey] != trim.Annotations[metav1.InitialEventsAnnotationKey] {
		t.Errorf("what a reflector looks at is gone: %+v of %+v", trim.ObjectMeta, whole.ObjectMeta)
	}
}

// No field that a row is made of is cut, whatever is turned on.
func TestTrimmedPods(t *testing.T) {
	for name, cfg := range map[string]Config{"by default": Defaults(), "with everything": everything()} {
		t.Run(name, func(t *testing.T) {
			whole, trim := decoders(t, cfg)
			_, st, _ := podStoreOf(t, cfg, 0)
			all := []*corev1.Pod{replay.Pod(7), {ObjectMeta: metav1.ObjectMeta{ResourceVersion: "9", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}}}}
			for seed := range uint64(300) {
				all = append(all, anyPod(seed))
			}
			list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "17", Continue: "next"}}
			smaller := 0
			for _, p := range all {
				list.Items = append(list.Items, *p)
				data := encodedPod(t, p)
				w, _, err := whole.Decode(data, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				c, _, err := trim.Decode(data, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				sameRow(t, st, w.(*corev1.Pod), c.(*corev1.Pod))
				if c.(*corev1.Pod).Size() < w.(*corev1.Pod).Size() {
					smaller++
				}
			}
			if smaller < 300 {
				t.Errorf("only %d of %d pods were trimmed", smaller, len(all))
			}
			got := &corev1.PodList{}
			if _, _, err := trim.Decode(encodedPod(t, list), nil, got); err != nil {
				t.Fatal(err)
			}
			if got.ResourceVersion != "17" || got.Continue != "next" || len(got.Items) != len(all) {
				t.Fatalf("list of %d pods, %+v", len(got.Items), got.ListMeta)
			}
			for i := range all {
				w, _, err := whole.Decode(encodedPod(t, all[i]), nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				sameRow(t, st, w.(*corev1.Pod), &got.Items[i])
			}
		})
	}
}

// What is no pod comes as it is, and so does what is no protobuf.
func TestTrimmedOthers(t *testing.T) {
	whole, trim := decoders(t, Defaults())
	status := &metav1.Status{Status: "Failure", Reason: metav1.StatusReasonExpired, Message: "too old resource version", Code: 410}
	pod := encodedPod(t, replay.Pod(1))
	for name, data := range map[string][]byte{
		"an error": encodedPod(t, status), "another kind": encodedPod(t, &corev1.ConfigMap{Data: map[string]string{"a": "b"}}),
		"nothing": nil, "JSON": []byte(`{"kind":"Pod"}`), "the beginning of a pod": pod[:len(pod)-3], "an envelope with nothing": envelope,
	} {
		w, _, werr := whole.Decode(data, nil, nil)
		c, _, cerr := trim.Decode(data, nil, nil)
		if fmt.Sprint(werr) != fmt.Sprint(cerr) || !reflect.DeepEqual(w, c) {
			t.Errorf("%s: %v, %v; whole: %v, %v", name, c, cerr, w, werr)
		}
	}
	for _, o := range []runtime.Object{replay.Pod(1), status} {
		e := metav1.WatchEvent{Type: "MODIFIED", Object: runtime.RawExtension{Raw: encodedPod(t, o)}}
		frame, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range negotiators(Defaults()) {
			d, stream, _, err := n.StreamDecoder(runtime.ContentTypeProtobuf, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got metav1.WatchEvent
			if _, _, err := stream.Decode(frame, nil, &got); err != nil || got.Type != "MODIFIED" {
				t.Fatalf("%+v, %v", got, err)
			}
			obj, err := runtime.Decode(d, got.Object.Raw)
			if err != nil || reflect.TypeOf(obj) != reflect.TypeOf(o) {
				t.Errorf("%T, %v", obj, err)
			}
		}
	}
}

// Whatever client-go reads, the trimmed is read, too, and has the same row.
func FuzzTrim(f *testing.F) {
	f.Add(encodedPod(f, replay.Pod(1)))
	for seed := range uint64(8) {
		f.Add(encodedPod(f, anyPod(seed)))
	}
	cfg := everything()
	whole, trim := decoders(f, cfg)
	_, st, _ := podStoreOf(f, cfg, 0)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, cerr := trim.Decode(data, nil, nil)
		w, _, werr := whole.Decode(data, nil, nil)
		if werr != nil {
			return // what is cut may have been what was wrong
		}
		if cerr != nil {
			t.Fatalf("trimmed, it can't be read: %v", cerr)
		}
		pod, ok := w.(*corev1.Pod)
		if !ok {
			if !reflect.DeepEqual(w, c) {
				t.Errorf("%v, whole %v", c, w)
			}
			return
		}
		sameRow(t, st, pod, c.(*corev1.Pod))
	})
}

func BenchmarkDecodePod(b *testing.B) {
	p := replay.Pod(7)
	data := encodedPod(b, p)
	whole, trim := decoders(b, Defaults())
	for name, d := range map[string]runtime.Decoder{"whole": whole, "trimmed": trim} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				o, _, err := d.Decode(data, nil, nil)
				if err != nil || o.(metav1.Object).GetName() != p.Name {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecodeEvent is a change of a pod that a watch tells, as client-go reads it.
func BenchmarkDecodeEvent(b *testing.B) {
	data := encodedPod(b, replay.Pod(7))
	e := metav1.WatchEvent{Type: "MODIFIED", Object: runtime.RawExtension{Raw: data}}
	frame, err := e.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	both := negotiators(Defaults())
	for name, n := range map[string]runtime.ClientNegotiator{"whole": both[0], "trimmed": both[1]} {
		b.Run(name, func(b *testing.B) {
			d, stream, _, err := n.StreamDecoder(runtime.ContentTypeProtobuf, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				var got metav1.WatchEvent
				if _, _, err := stream.Decode(frame, nil, &got); err != nil {
					b.Fatal(err)
				}
				if _, err := runtime.Decode(d, got.Object.Raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
