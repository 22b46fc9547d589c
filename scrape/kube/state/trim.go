package state

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"stint/scrape/kube"
)

// A pod is 10 KB, of which a row takes a tenth: variables, volumes, probes and managed fields are two thirds of the
// time and of the garbage of decoding it. They are cut out of its protobuf before that. The numbers of fields never
// change their meaning; a field that is not named here is cut.

// cut are the fields of a message that stay, by number.
type cut []struct {
	stay bool
	of   appender                // not nil: what the field holds is cut, too
	only func(entry []byte) bool // not nil: of these the entries for which it says so stay
}

// appender appends what stays of a message; ok is false if that is none.
type appender func(dst, msg []byte) (_ []byte, ok bool)

// stay makes a cut that leaves the fields of these numbers.
func stay(numbers ...int) cut {
	c := make(cut, slices.Max(numbers)+1)
	for _, n := range numbers {
		c[n].stay = true
	}
	return c
}

// in says that of field n only what of appends stays.
func (c cut) in(n int, of appender) cut {
	c = append(c, make(cut, max(0, n+1-len(c)))...)
	c[n].stay, c[n].of = true, of
	return c
}

// podCut is what a configuration needs of a pod: of v1.Pod in k8s.io/api/core/v1/generated.proto.
func podCut(cfg Config, on []bool) cut {
	meta := stay(1, 3, 5, 6, 7, 8, 9, 13) // name, namespace, uid, resourceVersion, generation, creation and deletion time, owners
	if len(cfg.Labels["pod"]) > 0 {
		meta = meta.in(11, nil)
	}
	meta = meta.in(12, nil) // annotations
	if len(cfg.Annotations["pod"]) == 0 {
		// The end of the list in a watch is a pod with this one.
		meta[12].only = func(entry []byte) bool { return bytes.Contains(entry, []byte(metav1.InitialEventsAnnotationKey)) }
	}
	container := stay(1, 2, 8, 24).append // name, image, resources, restartPolicy
	ephemeral := cut{}.in(1, container).append
	// restartPolicy, serviceAccountName, nodeName, hostNetwork, schedulerName, priorityClassName, runtimeClassName, overhead
	spec := stay(3, 8, 10, 11, 19, 24, 29, 32).in(2, container).in(20, container).in(34, ephemeral)
	if on[podVolumePVCInfo] {
		spec = spec.in(1, nil)
	}
	if on[podTolerations] {
		spec = spec.in(22, nil)
	}
	// name, state, lastState, ready, restartCount, image, imageID, containerID, resources
	status := stay(1, 2, 3, 4, 5, 6, 7, 8, 11).append
	condition := stay(1, 2, 4, 5).append // type, status, lastTransitionTime, reason
	// phase, reason, hostIP, podIP, startTime, qosClass, observedGeneration
	all := stay(1, 4, 5, 6, 7, 9, 17).in(2, condition).in(8, status).in(10, status).in(13, status)
	return cut{}.in(1, meta.append).in(2, spec.append).in(3, all.append)
}

// append appends what stays of a message; ok is false if that is no protobuf.
func (c cut) append(dst, msg []byte) (_ []byte, ok bool) {
	for len(msg) > 0 {
		f, ok := firstField(msg)
		if !ok {
			return dst, false
		}
		all, data := msg[:f.size], msg[f.head:f.size]
		msg = msg[f.size:]
		if f.num >= uint64(len(c)) || !c[f.num].stay || c[f.num].only != nil && !c[f.num].only(data) {
			continue
		}
		of := c[f.num].of
		if of == nil || f.typ != lenField {
			dst = append(dst, all...)
			continue
		}
		dst = append(dst, all[:f.head]...)
		at := len(dst)
		if dst, ok = of(dst, data); !ok {
			return dst, false
		}
		putPadded(dst[at-(f.head-f.tag):at], uint64(len(dst)-at))
	}
	return dst, true
}

// encodedField says where the parts of a field lie in its bytes.
type encodedField struct {
	num  uint64
	typ  int
	tag  int // the length, if it has one, begins here
	head int // the data begins here
	size int // of all
}

const lenField = 2 // wire type of what has a length

// firstField reads the field at the start of a message; ok is false where there is none.
func firstField(msg []byte) (f encodedField, ok bool) {
	tag, n := binary.Uvarint(msg)
	if n <= 0 || tag>>3 == 0 || tag > math.MaxUint32 {
		return f, false
	}
	f = encodedField{num: tag >> 3, typ: int(tag & 7), tag: n, head: n}
	size := uint64(0)
	switch f.typ {
	case 0:
		_, n := binary.Uvarint(msg[f.head:])
		if n <= 0 {
			return f, false
		}
		size = uint64(n)
	case 1:
		size = 8
	case lenField:
		l, n := binary.Uvarint(msg[f.head:])
		if n <= 0 {
			return f, false
		}
		f.head, size = f.head+n, l
	case 5:
		size = 4
	default: // groups are none of Kubernetes'
		return f, false
	}
	if size > uint64(len(msg)-f.head) {
		return f, false
	}
	f.size = f.head + int(size)
	return f, true
}

// putPadded writes a varint that takes all of dst: what is shorter now has the length of what was longer.
func putPadded(dst []byte, v uint64) {
	for i := range dst {
		dst[i] = byte(v&0x7f) | 0x80
		v >>= 7
	}
	dst[len(dst)-1] &= 0x7f
}

// trimmed reads what it wraps does, but pods without what no row has of them.
type trimmed struct {
	runtime.NegotiatedSerializer
	pod, list cut // of their envelopes
	event     cut // of a watch
}

// Every object is in an envelope behind these bytes (k8s.io/apimachinery/pkg/runtime/serializer/protobuf): its type in
// field 1, its message in field 2.
var envelope = []byte("k8s\x00")

func newTrimmed(s runtime.NegotiatedSerializer, pod cut) *trimmed {
	t := &trimmed{
		NegotiatedSerializer: s,
		pod:                  stay(1, 3, 4).in(2, pod.append),
		list:                 stay(1, 3, 4).in(2, stay(1).in(2, pod.append).append),
	}
	t.event = stay(1).in(2, cut{}.in(1, t.object).append) // type, and an object in a RawExtension
	return t
}

// podsOf reads pods in a namespace, or in all.
func podsOf(c *kube.Client, namespace string, pod cut) (listWatch, error) {
	cfg := rest.CopyConfig(c.REST)
	cfg.APIPath, cfg.GroupVersion = "/api", &corev1.SchemeGroupVersion
	cfg.NegotiatedSerializer = newTrimmed(rest.CodecFactoryForGeneratedClient(scheme.Scheme, scheme.Codecs).WithoutConversion(), pod)
	r, err := rest.RESTClientForConfigAndClient(cfg, c.HTTP)
	if err != nil {
		return listWatch{}, err
	}
	return reading(typedcorev1.New(r).Pods(namespace)), nil
}

// DecoderToVersion implements runtime.NegotiatedSerializer.
func (t *trimmed) DecoderToVersion(d runtime.Decoder, gv runtime.GroupVersioner) runtime.Decoder {
	return trimmedDecoder{t.NegotiatedSerializer.DecoderToVersion(d, gv), t.object}
}

// SupportedMediaTypes implements runtime.NegotiatedSerializer. Of a watch the events are trimmed before the object is
// taken out of them, which is a copy.
func (t *trimmed) SupportedMediaTypes() []runtime.SerializerInfo {
	all := slices.Clone(t.NegotiatedSerializer.SupportedMediaTypes())
	for i := range all {
		if all[i].MediaType == runtime.ContentTypeProtobuf {
			stream := *all[i].StreamSerializer
			stream.Serializer = trimmedEvents{stream.Serializer, trimmedDecoder{stream.Serializer, t.event.append}}
			all[i].StreamSerializer = &stream
		}
	}
	return all
}

// trimmedEvents is a serializer of events with another decoder.
type trimmedEvents struct {
	runtime.Serializer
	d trimmedDecoder
}

// Decode implements runtime.Decoder.
func (e trimmedEvents) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	return e.d.Decode(data, defaults, into)
}

type trimmedDecoder struct {
	runtime.Decoder
	trim appender
}

// trims are buffers: what is decoded out of one is a copy.
var trims = sync.Pool{New: func() any { return new([]byte) }}

// maxTrim is what a buffer may keep for the next object.
const maxTrim = 1 << 20

// Decode implements runtime.Decoder. What can't be trimmed is for the decoder to judge.
func (d trimmedDecoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	buf := trims.Get().(*[]byte)
	defer trims.Put(buf)
	out, ok := d.trim((*buf)[:0], data)
	if cap(out) <= maxTrim {
		*buf = out
	}
	if ok {
		data = out
	}
	return d.Decoder.Decode(data, defaults, into)
}

// object appends an object in its envelope: as it is, unless that is a pod or a list of them.
func (t *trimmed) object(dst, obj []byte) (_ []byte, ok bool) {
	if msg, ok := bytes.CutPrefix(obj, envelope); ok {
		var c cut
		switch string(kindIn(msg)) {
		case "Pod":
			c = t.pod
		case "PodList":
			c = t.list
		}
		if c != nil {
			return c.append(append(dst, envelope...), msg)
		}
	}
	return append(dst, obj...), true
}

// kindIn is the kind in an envelope's type: its field 2, in field 1.
func kindIn(msg []byte) []byte {
	for _, num := range []uint64{1, 2} {
		f, ok := firstField(msg)
		for ok && f.num != num {
			msg = msg[f.size:]
			f, ok = firstField(msg)
		}
		if !ok || f.typ != lenField {
			return nil
		}
		msg = msg[f.head:f.size]
	}
	return msg
}
