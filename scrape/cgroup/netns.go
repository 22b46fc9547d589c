package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

// netns is what is known of the network namespace of a pod, or of a container outside Kubernetes.
//
// The namespace is reached through a process in it. Its directory in /proc stays open, which
// holds nothing but the process's number: once that has ended, nothing is found below, and a
// process that is given the same number is not taken for it. The files of the namespace are
// opened and closed in each scrape, since an open one would keep the namespace alive.
//
// Each namespace has inodes of its own for /proc/<pid>/net/*, which everybody may see, where
// /proc/<pid>/ns/net takes CAP_SYS_PTRACE.
type netns struct {
	proc   int    // the directory of the process; fdClosed: none is known
	pid    uint64 // its number, for messages
	inode  uint64 // of net/dev; 0: not read yet
	shown  bool   // read in this scrape, and not another's
	links  []link
	sock   [2]kernel.Sockstat // of sockstat and sockstat6
	resent uint64             // TCP segments
	began  uint64             // start time of resent, if it began anew; 0: that of the entity
	told   bool               // resent is known
}

// link is an interface of a namespace.
type link struct {
	name  string
	v     [kernel.NetColumns]uint64
	began uint64 // start time, if it began anew; 0: that of the entity
	seen  bool
	attrs *linkAttrs
}

// linkAttrs are the attributes of the points of an interface.
type linkAttrs struct{ receive, transmit []byte }

const (
	// maxLinks bounds the interfaces of a namespace. A pod has one, or a few with Multus.
	maxLinks = 64
	// maxLinkNames bounds the table of names; it starts anew when it is full.
	maxLinkNames = 1024
)

var (
	procCgroup   = kernel.CString("cgroup")
	netDev       = kernel.CString("net/dev")
	netSockstats = [2][]byte{kernel.CString("net/sockstat"), kernel.CString("net/sockstat6")}
	netSNMP      = kernel.CString("net/snmp")
	loopback     = []byte("lo")
	errManyLinks = fmt.Errorf("has more than %d interfaces; the others are left out", maxLinks)
	// socketsByName leaves out orphan and alloc: those are the machine's in every namespace.
	socketsByName = []struct {
		field, v6                int
		transport, family, state string
	}{
		{kernel.SockTCPInuse, 0, "tcp", "ipv4", "inuse"}, {kernel.SockTCPInuse, 1, "tcp", "ipv6", "inuse"},
		{kernel.SockTCPTimeWait, 0, "tcp", "", "time_wait"},
		{kernel.SockUDPInuse, 0, "udp", "ipv4", "inuse"}, {kernel.SockUDPInuse, 1, "udp", "ipv6", "inuse"},
	}
)

// networks keeps what the namespaces of all pods and containers have in common.
type networks struct {
	host    uint64 // inode of the host's net/dev; 0: unknown
	names   map[string]*linkAttrs
	shown   map[uint64]uint64 // when a namespace was shown last, by inode
	sockets [][]byte          // attributes of socketsByName
	pids    map[string]uint64 // processes of containers, by id, as of the last search of /proc
	sought  uint64            // when that was; 0: never
	stat    unix.Stat_t
}

func newNetworks() networks {
	n := networks{names: map[string]*linkAttrs{}, shown: map[uint64]uint64{}}
	for _, q := range socketsByName {
		kvs := []otlp.KeyValue{otlp.Attr("network.transport", q.transport)}
		if q.family != "" {
			kvs = append(kvs, otlp.Attr("network.type", q.family))
		}
		n.sockets = append(n.sockets, series.Attributes(append(kvs, otlp.Attr("system.network.socket.state", q.state))...))
	}
	return n
}

// hasNetwork tells whether the namespace of an entity is reported: a pod owns that of its
// containers.
func (s *Cgroups) hasNetwork(e *entity) bool {
	return s.cfg.Network.Enabled && (e.kind == pod || e.kind == container && !e.kube && e.uid == "")
}

// readNetwork reads the network namespace of an entity; before is the time of the scrape before.
// One without a process that can be seen has no figures, and that is no error.
func (s *Cgroups) readNetwork(e *entity, before uint64) error {
	n := &e.net
	n.shown = false
	if s.networks.host == 0 {
		s.networks.host = s.hostNetwork()
		if s.networks.host == 0 {
			return nil // it could not be told from that of a pod
		}
	}
	fd := -1
	if n.proc >= 0 {
		fd, _ = kernel.OpenAt(n.proc, netDev)
	}
	if fd < 0 {
		s.closeNetwork(e)
		if !s.findProcess(e) {
			return nil
		}
		if fd, _ = kernel.OpenAt(n.proc, netDev); fd < 0 {
			return nil // it ended just now
		}
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &s.networks.stat); err != nil {
		return nil
	}
	inode := s.networks.stat.Ino
	if inode == s.networks.host || s.networks.shown[inode] == s.now {
		return nil // the host's own, or that of another container
	}
	b, errno := kernel.PreadList(fd, &s.buf)
	if errno != 0 {
		return nil // as above
	}
	if len(s.networks.shown) > 2*s.cfg.MaxCgroups {
		clear(s.networks.shown)
	}
	s.networks.shown[inode] = s.now
	switch n.inode {
	case inode:
	case 0:
		before = 0 // it began with the entity
	default:
		n.links, n.told = n.links[:0], false
	}
	n.inode, n.shown = inode, true
	err := s.updateLinks(n, b, before)
	if s.cfg.Network.Detail && e.kind == pod {
		err = first(err, s.readSockets(n, before))
	}
	if err != nil {
		return fmt.Errorf("network namespace of %s: %w", e.path, err)
	}
	return nil
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// hostNetwork is the inode of the host's net/dev, 0 where it cannot be seen.
func (s *Cgroups) hostNetwork() uint64 {
	if unix.Stat(s.root+"/proc/1/net/dev", &s.networks.stat) != nil {
		return 0
	}
	return s.networks.stat.Ino
}

// updateLinks takes in the content of net/dev.
func (s *Cgroups) updateLinks(n *netns, b []byte, before uint64) (err error) {
	for i := range n.links {
		n.links[i].seen = false
	}
	for len(b) > 0 {
		var l []byte
		var d kernel.NetDev
		l, b = kernel.Line(b)
		head, ok := d.Parse(l)
		switch {
		case head || bytes.Equal(d.Name, loopback):
			continue
		case !ok:
			err = first(err, kernel.Malformed(s.netPath(n, netDev), l))
			continue
		}
		at := slices.IndexFunc(n.links, func(k link) bool { return k.name == string(d.Name) })
		if at < 0 {
			if len(n.links) >= maxLinks {
				err = first(err, errManyLinks)
				continue
			}
			at = len(n.links)
			name := string(d.Name)
			n.links = append(n.links, link{name: name, began: before, attrs: s.link(name)})
		}
		k := &n.links[at]
		k.seen = true
		for i, v := range d.V {
			if v < k.v[i] {
				k.began = before
			}
		}
		k.v = d.V
	}
	n.links = slices.DeleteFunc(n.links, func(k link) bool { return !k.seen })
	return err
}

// link is the attributes of interfaces of a name, once for all namespaces.
func (s *Cgroups) link(name string) *linkAttrs {
	if a := s.networks.names[name]; a != nil {
		return a
	}
	ifname := otlp.Attr("network.interface.name", name)
	a := &linkAttrs{
		receive:  series.Attributes(ifname, otlp.Attr("network.io.direction", "receive")),
		transmit: series.Attributes(ifname, otlp.Attr("network.io.direction", "transmit")),
	}
	if len(s.networks.names) >= maxLinkNames {
		clear(s.networks.names)
	}
	s.networks.names[name] = a
	return a
}

// readSockets reads the counts of sockets and of segments sent again.
func (s *Cgroups) readSockets(n *netns, before uint64) (err error) {
	for i, name := range netSockstats {
		b, _ := s.netFile(n, name) // sockstat6 is not there without IPv6
		if n.sock[i].Parse(b) != nil {
			err = first(err, kernel.Malformed(s.netPath(n, name), b))
		}
	}
	b, errno := s.netFile(n, netSNMP)
	if errno != 0 {
		n.told = false
		return err
	}
	resent, ok := retransmitted(b)
	if !ok {
		n.told = false
		return first(err, kernel.Malformed(s.netPath(n, netSNMP), b))
	}
	if !n.told || resent < n.resent {
		n.began = before
	}
	n.resent, n.told = resent, true
	return err
}

// netPath is the path of a file of the namespace, for messages.
func (s *Cgroups) netPath(n *netns, name []byte) string {
	return fmt.Sprintf("%s/proc/%d/%s", s.root, n.pid, name[:len(name)-1])
}

func (s *Cgroups) netFile(n *netns, name []byte) ([]byte, unix.Errno) {
	fd, errno := kernel.OpenAt(n.proc, name)
	if errno != 0 {
		return nil, errno
	}
	defer unix.Close(fd)
	return kernel.PreadList(fd, &s.buf)
}

// retransmitted finds RetransSegs of Tcp in net/snmp: a line of names, and one of values.
func retransmitted(b []byte) (n uint64, ok bool) {
	column := -1
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		l, ok := bytes.CutPrefix(l, []byte("Tcp:"))
		if !ok {
			continue
		}
		names := column < 0 // the first line has the names, the second the numbers
		for i := 0; ; i++ {
			word, rest := kernel.Field(l)
			if len(word) == 0 {
				break
			}
			if column == i {
				n, _, ok := kernel.Number(word)
				return n, ok
			}
			if names && string(word) == "RetransSegs" {
				column = i
				break
			}
			l = rest
		}
		if column < 0 || !names {
			return 0, false
		}
	}
	return 0, false
}

// closeNetwork lets go of the process of a namespace.
func (s *Cgroups) closeNetwork(e *entity) {
	if e.net.proc >= 0 {
		unix.Close(e.net.proc)
		e.net.proc = fdClosed
		s.open--
	}
}

// findProcess finds a process of a container, or of one of a pod: of its oldest, which is the
// sandbox where there is one.
func (s *Cgroups) findProcess(e *entity) bool {
	if s.open >= s.maxOpen {
		return false
	}
	if e.kind == container {
		return s.enterContainer(e, e.node)
	}
	for after := uint64(0); ; {
		var next *node
		for _, c := range e.node.children {
			if c.kind == container && !s.deserted(c.entity) && c.inode > after && (next == nil || c.inode < next.inode) {
				next = c
			}
		}
		if next == nil {
			return false
		}
		if s.enterContainer(e, next) {
			return true
		}
		after = next.inode
	}
}

// deserted tells that a cgroup had no process when it was read, in this scrape or the one before.
func (s *Cgroups) deserted(e *entity) bool {
	return e != nil && e.has.has(pidsCount) && e.v[pidsCount] == 0 && (e.scraped == s.now || e.scraped == s.prev)
}

// enterContainer opens the directory of a process of a container: of one that its cgroup lists,
// or, where that is no number here because the agent has a pid namespace of its own, of one
// that /proc, which is the host's, shows to be in it.
func (s *Cgroups) enterContainer(e *entity, c *node) bool {
	s.path = append(append(append(s.path[:0], s.tree.dir...), c.path...), "/cgroup.procs\x00"...)
	if fd, errno := kernel.Open(s.path); errno == 0 {
		b, errno := kernel.PreadList(fd, &s.buf)
		unix.Close(fd)
		if pid, _, ok := kernel.Number(b); errno == 0 && ok && pid > 0 && s.enter(e, c.id, pid) {
			return true
		}
	}
	if s.networks.sought == 0 || s.now-s.networks.sought >= rareness || s.now < s.networks.sought {
		s.networks.pids, s.networks.sought = s.searchProcesses(), s.now
	}
	pid := s.networks.pids[c.id]
	return pid > 0 && s.enter(e, c.id, pid)
}

// enter opens the directory of a process if that is in the container.
func (s *Cgroups) enter(e *entity, id string, pid uint64) bool {
	s.path = append(strconv.AppendUint(append(append(s.path[:0], s.root...), "/proc/"...), pid, 10), 0)
	dir, errno := kernel.Open(s.path)
	if errno != 0 {
		return false
	}
	if b := s.cgroupsOf(dir); !bytes.Contains(b, []byte(id)) {
		unix.Close(dir)
		return false
	}
	e.net.proc, e.net.pid = dir, pid
	s.open++
	return true
}

// cgroupsOf is /proc/<pid>/cgroup, empty where it cannot be read.
func (s *Cgroups) cgroupsOf(dir int) []byte {
	fd, errno := kernel.OpenAt(dir, procCgroup)
	if errno != 0 {
		return nil
	}
	defer unix.Close(fd)
	b, _ := kernel.PreadList(fd, &s.buf)
	return b
}

// searchProcesses finds a process of each container: the one with the lowest number.
func (s *Cgroups) searchProcesses() map[string]uint64 {
	found := map[string]uint64{}
	entries, _ := os.ReadDir(s.root + "/proc")
	for _, entry := range entries {
		pid, rest, ok := kernel.Number([]byte(entry.Name()))
		if !ok || len(rest) > 0 {
			continue
		}
		s.path = append(append(append(s.path[:0], s.root...), "/proc/"...), entry.Name()+"\x00"...)
		dir, errno := kernel.Open(s.path)
		if errno != 0 {
			continue
		}
		id := idIn(s.cgroupsOf(dir))
		unix.Close(dir)
		if was, ok := found[string(id)]; len(id) > 0 && (ok && pid < was || !ok && len(found) < 2*s.cfg.MaxCgroups) {
			found[string(id)] = pid
		}
	}
	return found
}

// idLength is that of the ids of containers: hexadecimal digits.
const idLength = 64

// idIn finds the first id of a container in /proc/<pid>/cgroup.
func idIn(b []byte) []byte {
	run := 0
	for i, c := range b {
		if isDigit(c) {
			run++
		} else {
			run = 0
		}
		if run == idLength && (i+1 == len(b) || !isDigit(b[i+1])) {
			return b[i+1-idLength : i+1]
		}
	}
	return nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }

func (s *Cgroups) emitLinks(w writer, metric int, receive, transmit int) {
	if !w.e.net.shown {
		return
	}
	for i := range w.e.net.links {
		k := &w.e.net.links[i]
		if w.p.Start = w.e.start; k.began != 0 {
			w.p.Start = k.began
		}
		w.p.Int(metric, k.attrs.receive, k.v[receive])
		w.p.Int(metric, k.attrs.transmit, k.v[transmit])
	}
}

func (s *Cgroups) emitContainerNetwork(w writer) {
	s.emitLinks(w, containerNetworkIO, kernel.NetReceiveBytes, kernel.NetTransmitBytes)
	s.emitLinks(w, containerNetworkDropped, kernel.NetReceiveDropped, kernel.NetTransmitDropped)
	s.emitLinks(w, containerNetworkErrors, kernel.NetReceiveErrors, kernel.NetTransmitErrors)
	if s.cfg.Network.Detail {
		s.emitLinks(w, containerNetworkPackets, kernel.NetReceivePackets, kernel.NetTransmitPackets)
	}
}

func (s *Cgroups) emitPodNetwork(w writer) {
	s.emitLinks(w, podNetworkDropped, kernel.NetReceiveDropped, kernel.NetTransmitDropped)
	n := &w.e.net
	if !s.cfg.Network.Detail || !n.shown {
		return
	}
	s.emitLinks(w, podNetworkPackets, kernel.NetReceivePackets, kernel.NetTransmitPackets)
	for i := range socketsByName {
		q := &socketsByName[i]
		if from := &n.sock[q.v6]; from.Has[q.field] {
			w.p.Int(podNetworkSockets, s.networks.sockets[i], from.V[q.field])
		}
	}
	if n.told {
		if w.p.Start = w.e.start; n.began != 0 {
			w.p.Start = n.began
		}
		w.p.Int(podNetworkResent, nil, n.resent)
	}
}
