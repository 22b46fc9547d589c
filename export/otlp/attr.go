package otlp

import (
	"math"
	"strconv"
)

// EachAttr calls do for the attributes in a message that has them under a field number, such as
// those of [AppendAttrs], as far as its framing is sound. A value that is a list or a map has its
// kind only.
func EachAttr(message []byte, number int, do func(key string, v Value)) {
	_ = eachLen(message, number, func(kv []byte) error {
		var key string
		var v Value
		for len(kv) > 0 {
			f, rest, err := nextField(kv)
			if err != nil {
				return err
			}
			switch kv = rest; f.number {
			case 1:
				key = string(f.val)
			case 2:
				if v, err = anyValue(f.val); err != nil {
					return err
				}
			}
		}
		do(key, v)
		return nil
	})
}

// anyValue reads an AnyValue.
func anyValue(b []byte) (v Value, err error) {
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return Value{}, err
		}
		switch b = rest; f.number {
		case 1:
			v = String(string(f.val))
		case 2:
			v = Bool(f.num != 0)
		case 3:
			v = Int(int64(f.num))
		case 4:
			v = Double(math.Float64frombits(f.num))
		case 5:
			v = Value{kind: KindArray}
		case 6:
			v = Value{kind: KindMap}
		case 7:
			v = Value{kind: KindBytes, str: string(f.val)}
		}
	}
	return v, nil
}

// Text is a scalar value as it is written; "" for the others.
func (v Value) Text() string {
	switch v.kind {
	case KindString:
		return v.str
	case KindBool:
		return strconv.FormatBool(v.num != 0)
	case KindInt:
		return strconv.FormatInt(int64(v.num), 10)
	case KindDouble:
		return strconv.FormatFloat(math.Float64frombits(v.num), 'g', -1, 64)
	}
	return ""
}

// First is the text of a scalar value, and of the first value of a list.
func (v Value) First() string {
	if len(v.array) > 0 {
		return v.array[0].Text()
	}
	return v.Text()
}

// Attributes calls do for the attributes of the group's resource.
func (g *Group) Attributes(do func(key string, v Value)) {
	_ = eachLen(g.resource, 1, func(resource []byte) error {
		EachAttr(resource, 1, do)
		return nil
	})
}
