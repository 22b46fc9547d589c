package kubelet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// jsonPod is what is read of a pod in JSON.
type jsonPod struct {
	Metadata struct {
		Name            string            `json:"name"`
		Namespace       string            `json:"namespace"`
		UID             string            `json:"uid"`
		Labels          map[string]string `json:"labels"`
		Annotations     map[string]string `json:"annotations"`
		OwnerReferences []struct {
			Kind       string `json:"kind"`
			Name       string `json:"name"`
			Controller bool   `json:"controller"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
	Spec struct {
		NodeName            string                       `json:"nodeName"`
		HostNetwork         bool                         `json:"hostNetwork"`
		InitContainers      []jsonContainer              `json:"initContainers"`
		Containers          []jsonContainer              `json:"containers"`
		EphemeralContainers []jsonContainer              `json:"ephemeralContainers"`
		Volumes             []map[string]json.RawMessage `json:"volumes"` // the source's key is its type
	} `json:"spec"`
	Status struct {
		Phase                      string      `json:"phase"`
		PodIP                      string      `json:"podIP"`
		InitContainerStatuses      []jsonState `json:"initContainerStatuses"`
		ContainerStatuses          []jsonState `json:"containerStatuses"`
		EphemeralContainerStatuses []jsonState `json:"ephemeralContainerStatuses"`
	} `json:"status"`
}

type jsonContainer struct {
	Name      string `json:"name"`
	Image     string `json:"image"`
	Resources struct {
		Limits   map[string]string `json:"limits"`
		Requests map[string]string `json:"requests"`
	} `json:"resources"`
}

type jsonState struct {
	Name         string `json:"name"`
	ContainerID  string `json:"containerID"`
	ImageID      string `json:"imageID"`
	RestartCount int32  `json:"restartCount"`
	State        struct {
		Running *struct{} `json:"running"`
	} `json:"state"`
}

// decodePods reads a v1.PodList in JSON, a pod at a time. Pods that can't be understood are left
// out; bad tells about the last of them. err means that the list has no end.
func decodePods(r io.Reader, t texts) (pods []*Pod, bad, err error) {
	d := json.NewDecoder(r)
	if tok, err := d.Token(); err != nil {
		return nil, nil, fmt.Errorf("list of pods: %w", err)
	} else if tok != json.Delim('{') {
		return nil, nil, errors.New("list of pods: no JSON object; is this the kubelet?")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, nil, fmt.Errorf("list of pods: %w", err)
		}
		if key != "items" {
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil {
				return nil, nil, fmt.Errorf("list of pods: %w", err)
			}
			continue
		}
		switch tok, err := d.Token(); {
		case err != nil:
			return nil, nil, fmt.Errorf("list of pods: %w", err)
		case tok == nil: // a kubelet without pods
			return nil, nil, nil
		case tok != json.Delim('['):
			return nil, nil, errors.New("list of pods: items is no array")
		}
		for d.More() {
			var j jsonPod
			if err := d.Decode(&j); wrongType(err) {
				bad = fail("malformed", "pod in JSON: %w", err)
				continue
			} else if err != nil {
				return nil, nil, fmt.Errorf("list of pods, after %d: %w", len(pods), err)
			}
			p, err := j.pod(t)
			if err != nil {
				bad = err
				continue
			}
			pods = append(pods, p)
		}
		if _, err := d.Token(); err != nil {
			return nil, nil, fmt.Errorf("list of pods, after %d: %w", len(pods), err)
		}
		return pods, bad, nil
	}
	return nil, nil, errors.New("list of pods: there are no items; is this the kubelet?")
}

// wrongType tells of a value of another type than ours: the decoder stands behind it.
func wrongType(err error) bool {
	var e *json.UnmarshalTypeError
	return errors.As(err, &e)
}

func (j *jsonPod) pod(t texts) (*Pod, error) {
	text := func(s string) string { return t.of([]byte(s)) }
	b := builder{texts: t}
	m, s := &j.Metadata, &j.Spec
	b.Name, b.Namespace, b.UID = text(m.Name), text(m.Namespace), text(m.UID)
	b.NodeName, b.HostNetwork = text(s.NodeName), s.HostNetwork
	b.Phase, b.IP = text(j.Status.Phase), text(j.Status.PodIP)
	for _, k := range slices.Sorted(maps.Keys(m.Labels)) { // in order: the first ones are kept
		b.label([]byte(k), []byte(m.Labels[k]))
	}
	for _, k := range slices.Sorted(maps.Keys(m.Annotations)) {
		b.annotation([]byte(k), []byte(m.Annotations[k]))
	}
	for _, o := range m.OwnerReferences {
		if o.Controller {
			b.Owner = Owner{Kind: text(o.Kind), Name: text(o.Name)}
		}
	}
	for kind, list := range [...][]jsonContainer{Regular: s.Containers, Init: s.InitContainers, Ephemeral: s.EphemeralContainers} {
		for _, c := range list {
			kept := Container{Name: text(c.Name), Kind: Kind(kind), Image: text(c.Image)}
			for name, amount := range c.Resources.Limits {
				kept.resource(true, name, amount)
			}
			for name, amount := range c.Resources.Requests {
				kept.resource(false, name, amount)
			}
			b.container(kept)
		}
	}
	for kind, list := range [...][]jsonState{Regular: j.Status.ContainerStatuses, Init: j.Status.InitContainerStatuses, Ephemeral: j.Status.EphemeralContainerStatuses} {
		for _, c := range list {
			b.states = append(b.states, state{
				kind: Kind(kind), name: text(c.Name), id: text(c.ContainerID), imageID: text(c.ImageID),
				restarts: int(c.RestartCount), running: c.State.Running != nil,
			})
		}
	}
	for _, v := range s.Volumes {
		kept, err := jsonVolume(v, text)
		if err != nil {
			return nil, fail("malformed", "pod %s/%s in JSON: volume: %w", b.Namespace, b.Name, err)
		}
		b.volume(kept)
	}
	return b.done()
}

func jsonVolume(fields map[string]json.RawMessage, text func(string) string) (Volume, error) {
	var name string
	var claim struct {
		ClaimName string `json:"claimName"`
	}
	if value, ok := fields["name"]; ok {
		if err := json.Unmarshal(value, &name); err != nil {
			return Volume{}, err
		}
	}
	v := Volume{Name: text(name)}
	for _, source := range volumeTypes {
		if _, ok := fields[source]; ok {
			v.Type = source
		}
	}
	if v.Type == claimVolume {
		if err := json.Unmarshal(fields[claimVolume], &claim); err != nil {
			return Volume{}, err
		}
		v.Claim = text(claim.ClaimName)
	}
	return v, nil
}
