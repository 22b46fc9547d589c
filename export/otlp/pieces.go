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
			for message := scope.val; len(message) > 0; {
				f, after, err := nextField(message)
				if err != nil {
					return nil, fmt.Errorf("%s: %w in a scope", s, err)
				}
				raw := message[:len(message)-len(after)]
				message = after
				if f.number != 2 || f.wire != wireLen {
					p.Group.scope = join(p.Group.scope, raw)
					continue
				}
				n := 1
				if s == Metrics {
					if n, err = countLevel(s, f.val, 3); err != nil {
						return nil, err
					}
				}
				p.Records += n
				p.Data = join(p.Data, raw)
			}
			if len(p.Data) > 0 {
				all = append(all, p)
			}
		}
	}
	return all, nil
}

// member is a field of a message, with its tag.
type member struct{ raw, val []byte }

// part gives the members of message with that number, and all else together.
func part(message []byte, number int) (rest []byte, members []member, err error) {
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
			rest = join(rest, raw)
		}
	}
	return rest, members, nil
}

// join is a and b in one piece: without copying where b follows a in memory.
func join(a, b []byte) []byte {
	if len(a) == 0 {
		return b
	}
	if n := len(a) + len(b); len(b) > 0 && cap(a) >= n && &a[:n][len(a)] == &b[0] {
		return a[:n]
	}
	return append(a[:len(a):len(a)], b...)
}
