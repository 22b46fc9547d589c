package kubelet

import (
	"iter"

	"google.golang.org/protobuf/encoding/protowire"
)

// Pods are decoded by field number: the generated code for them would add 12 MB to the binary, and
// we keep a tenth of the fields. The numbers are those of k8s.io/api/core/v1/generated.proto and
// k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto, which never change their meaning.

// field is a field of a message: data if it is length-delimited, else n.
type field struct {
	num  protowire.Number
	data []byte
	n    uint64
}

// fields goes through the message in b. Where that is no protobuf, it ends early and sets err.
func fields(b []byte, err *error) iter.Seq[field] {
	return func(yield func(field) bool) {
		for len(b) > 0 && *err == nil {
			f, size := field{}, 0
			num, typ, n := protowire.ConsumeTag(b)
			if n >= 0 {
				f.num, b = num, b[n:]
				switch typ {
				case protowire.VarintType:
					f.n, size = protowire.ConsumeVarint(b)
				case protowire.BytesType:
					f.data, size = protowire.ConsumeBytes(b)
				default:
					size = protowire.ConsumeFieldValue(num, typ, b)
				}
				n = size
			}
			if n < 0 {
				*err = fail("malformed", "pod in protobuf: %w", protowire.ParseError(n))
				return
			}
			if b = b[size:]; !yield(f) {
				return
			}
		}
	}
}

// decodePod reads a v1.Pod.
func decodePod(data []byte, t texts) (*Pod, error) {
	var err error
	b := builder{texts: t}
	for f := range fields(data, &err) {
		switch f.num {
		case 1:
			b.protoMeta(f.data, &err)
		case 2:
			b.protoSpec(f.data, &err)
		case 3:
			b.protoStatus(f.data, &err)
		}
	}
	if err != nil {
		return nil, err
	}
	return b.done()
}

// protoMeta reads a metav1.ObjectMeta.
func (b *builder) protoMeta(data []byte, err *error) {
	for f := range fields(data, err) {
		switch f.num {
		case 1:
			b.Name = b.texts.of(f.data)
		case 3:
			b.Namespace = b.texts.of(f.data)
		case 5:
			b.UID = b.texts.of(f.data)
		case 11:
			b.label(protoEntry(f.data, err))
		case 12:
			b.annotation(protoEntry(f.data, err))
		case 13: // OwnerReference
			var o Owner
			controller := false
			for f := range fields(f.data, err) {
				switch f.num {
				case 1:
					o.Kind = b.texts.of(f.data)
				case 3:
					o.Name = b.texts.of(f.data)
				case 6:
					controller = f.n != 0
				}
			}
			if controller {
				b.Owner = o
			}
		}
	}
}

// protoEntry reads an entry of a map.
func protoEntry(data []byte, err *error) (k, v []byte) {
	for f := range fields(data, err) {
		switch f.num {
		case 1:
			k = f.data
		case 2:
			v = f.data
		}
	}
	return k, v
}

// protoSpec reads a v1.PodSpec.
func (b *builder) protoSpec(data []byte, err *error) {
	for f := range fields(data, err) {
		switch f.num {
		case 1:
			b.protoVolume(f.data, err)
		case 2:
			b.protoContainer(f.data, Regular, err)
		case 10:
			b.NodeName = b.texts.of(f.data)
		case 11:
			b.HostNetwork = f.n != 0
		case 20:
			b.protoContainer(f.data, Init, err)
		case 34: // EphemeralContainer, whose common part has the numbers of a Container
			for f := range fields(f.data, err) {
				if f.num == 1 {
					b.protoContainer(f.data, Ephemeral, err)
				}
			}
		}
	}
}

// protoContainer reads a v1.Container.
func (b *builder) protoContainer(data []byte, kind Kind, err *error) {
	c := Container{Kind: kind}
	for f := range fields(data, err) {
		switch f.num {
		case 1:
			c.Name = b.texts.of(f.data)
		case 2:
			c.Image = b.texts.of(f.data)
		case 8: // ResourceRequirements
			for f := range fields(f.data, err) {
				if f.num != 1 && f.num != 2 {
					continue
				}
				resource, q := protoEntry(f.data, err)
				amount, _ := protoEntry(q, err) // a Quantity's only field has the number of a key
				c.resource(f.num == 1, string(resource), string(amount))
			}
		}
	}
	b.container(c)
}

// resource sets a limit or request.
func (c *Container) resource(limit bool, name, amount string) {
	switch {
	case name == "cpu" && limit:
		c.CPULimit = quantity(amount)
	case name == "cpu":
		c.CPURequest = quantity(amount)
	case name == "memory" && limit:
		c.MemoryLimit = wholeBytes(amount)
	case name == "memory":
		c.MemoryRequest = wholeBytes(amount)
	}
}

// protoVolume reads a v1.Volume.
func (b *builder) protoVolume(data []byte, err *error) {
	var v Volume
	for f := range fields(data, err) {
		switch f.num {
		case 1:
			v.Name = b.texts.of(f.data)
		case 2: // VolumeSource
			for f := range fields(f.data, err) {
				name, ok := volumeTypes[f.num]
				if !ok {
					continue
				}
				v.Type, v.Claim = name, ""
				if name == claimVolume {
					claim, _ := protoEntry(f.data, err) // its name has the number of a key
					v.Claim = b.texts.of(claim)
				}
			}
		}
	}
	b.volume(v)
}

// volumeTypes are the fields of a v1.VolumeSource by number, with their names in JSON.
var volumeTypes = map[protowire.Number]string{
	1: "hostPath", 2: "emptyDir", 3: "gcePersistentDisk", 4: "awsElasticBlockStore", 5: "gitRepo", 6: "secret", 7: "nfs",
	8: "iscsi", 9: "glusterfs", 10: claimVolume, 11: "rbd", 12: "flexVolume", 13: "cinder", 14: "cephfs",
	15: "flocker", 16: "downwardAPI", 17: "fc", 18: "azureFile", 19: "configMap", 20: "vsphereVolume", 21: "quobyte",
	22: "azureDisk", 23: "photonPersistentDisk", 24: "portworxVolume", 25: "scaleIO", 26: "projected", 27: "storageos",
	28: "csi", 29: "ephemeral", 30: "image",
}

const claimVolume = "persistentVolumeClaim"

// protoStatus reads a v1.PodStatus.
func (b *builder) protoStatus(data []byte, err *error) {
	for f := range fields(data, err) {
		switch f.num {
		case 1:
			b.Phase = b.texts.of(f.data)
		case 6:
			b.IP = b.texts.of(f.data)
		case 8:
			b.protoState(f.data, Regular, err)
		case 10:
			b.protoState(f.data, Init, err)
		case 13:
			b.protoState(f.data, Ephemeral, err)
		}
	}
}

// protoState reads a v1.ContainerStatus.
func (b *builder) protoState(data []byte, kind Kind, err *error) {
	s := state{kind: kind}
	for f := range fields(data, err) {
		switch f.num {
		case 1:
			s.name = b.texts.of(f.data)
		case 2: // ContainerState
			for f := range fields(f.data, err) {
				s.running = s.running || f.num == 2
			}
		case 5:
			s.restarts = int(int32(f.n))
		case 7:
			s.imageID = b.texts.of(f.data)
		case 8:
			s.id = b.texts.of(f.data)
		}
	}
	b.states = append(b.states, s)
}
