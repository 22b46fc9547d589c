package otlp

import "fmt"

// Piece is a run of records of a request, under their resource and scope.
type Piece struct {
	Group   *Group
	Data    []byte // encoded records, as in [Chunk]
	Records int
}

// Pieces takes an Export*ServiceRequest apart. The pieces share its memory where they can. The
// error wraps [ErrMalformed].
func Pieces(s Signal, request []byte) (all []Piece, err error) {
	for len(request) > 0 {
		f, rest, err := nextField(request)
		if err != nil {
			return nil, fmt.Errorf("%s: %w in a request", s, err)
		}
		request = rest
		if f.number != 1 || f.wire != wireLen {
			continue
		}
		resource, scopes, err := part(f.val, 2)
		if err != nil {
			return nil, fmt.Errorf("%s: %w in a resource", s, err)
		}
		for _, scope := range scopes {
			p := Piece{Group: &Group{resource: resource}}
			var data, about joined
			for message := scope.val; len(message) > 0; {
				f, after, err := nextField(message)
				if err != nil {
					return nil, fmt.Errorf("%s: %w in a scope", s, err)
				}
				raw := message[:len(message)-len(after)]
				message = after
				if f.number != 2 || f.wire != wireLen {
					about.add(raw)
					continue
				}
				n := 1
				if s == Metrics {
					if n, err = countLevel(s, f.val, 3); err != nil {
						return nil, err
					}
				}
				p.Records += n
				data.add(raw)
			}
			if p.Data, p.Group.scope = data.b, about.b; len(p.Data) > 0 {
				all = append(all, p)
			}
		}
	}
	return all, nil
}

// member is a field of a message, with its tag.
type member struct{ raw, val []byte }

// part gives the members of message with that number, and all else together.
func part(message []byte, number int) (_ []byte, members []member, err error) {
	var rest joined
	for len(message) > 0 {
		f, after, err := nextField(message)
		if err != nil {
			return nil, nil, err
		}
		raw := message[:len(message)-len(after)]
		message = after
		if f.number == number && f.wire == wireLen {
			members = append(members, member{raw, f.val})
		} else {
			rest.add(raw)
		}
	}
	return rest.b, members, nil
}

// joined is bytes in one piece: parts of a message, without copying where they follow each other in memory, else
// a copy that grows.
type joined struct {
	b   []byte
	own bool // b is a copy
}

func (j *joined) add(b []byte) {
	switch n := len(j.b) + len(b); {
	case len(j.b) == 0:
		j.b = b
	case j.own:
		j.b = append(j.b, b...)
	case len(b) > 0 && cap(j.b) >= n && &j.b[:n][len(j.b)] == &b[0]:
		j.b = j.b[:n]
	default:
		j.b, j.own = append(j.b[:len(j.b):len(j.b)], b...), true
	}
}
