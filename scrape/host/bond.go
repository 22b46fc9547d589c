package host

import "stint/scrape/kernel"

// bond is what is known of a bonding interface.
type bond struct {
	slaves             []byte // path of the file that names its members; nil for other interfaces
	configured, active uint64
	known              bool
	attrs              struct{ configured, active []byte }
}

// ask counts the members of a bond, and those whose link is up.
func (b *bond) ask(s *network) {
	b.configured, b.active = 0, 0
	members, errno := kernel.ReadSmall(b.slaves, s.members[:])
	b.known = errno == 0
	for {
		var name []byte
		if name, members = kernel.Field(members); len(name) == 0 {
			return
		}
		b.configured++
		s.path = append(append(append(s.path[:0], s.h.sys...), "/class/net/"...), name...)
		s.path = append(s.path, "/bonding_slave/mii_status\x00"...)
		state, _ := kernel.ReadSmall(s.path, s.small)
		if state, _ = kernel.Field(state); string(state) == "up" {
			b.active++
		}
	}
}
