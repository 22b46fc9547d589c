package follow

import (
	"time"

	"stint/scrape/kube/rawjson"
)

// Identity is what is read of an object's metadata.
type Identity struct {
	APIVersion, Kind     string // empty in the lists of built-in kinds
	Namespace, Name, UID string
	ResourceVersion      string
	Created              time.Time
	Changed              time.Time // of the newest entry in managedFields
}

// Identify reads an object's metadata.
func Identify(object []byte) (id Identity, err error) {
	err = rawjson.EachField(object, func(k, v []byte) {
		switch string(k) {
		case "apiVersion":
			id.APIVersion = rawjson.String(v)
		case "kind":
			id.Kind = rawjson.String(v)
		case "metadata":
			_ = rawjson.EachField(v, id.metadata)
		}
	})
	return id, err
}

func (id *Identity) metadata(k, v []byte) {
	switch string(k) {
	case "name":
		id.Name = rawjson.String(v)
	case "namespace":
		id.Namespace = rawjson.String(v)
	case "uid":
		id.UID = rawjson.String(v)
	case "resourceVersion":
		id.ResourceVersion = rawjson.String(v)
	case "creationTimestamp":
		id.Created = timeOf(v)
	case "managedFields":
		_ = rawjson.EachElement(v, func(entry []byte) {
			_ = rawjson.EachField(entry, func(k, v []byte) {
				if string(k) == "time" {
					if t := timeOf(v); t.After(id.Changed) {
						id.Changed = t
					}
				}
			})
		})
	}
}

func timeOf(v []byte) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, rawjson.String(v))
	return t
}
