package kubelet

import (
	"errors"
	"io"
)

// The figures of a summary that are wanted, of any part of it. Those of a block follow its time.
const (
	began = iota // startTime

	cpuAt
	cpuUsed // usageCoreNanoSeconds

	memoryAt
	memoryAvailable
	memoryUsage
	memoryWorkingSet
	memoryRSS
	memoryFaults // all, though the API's documentation says minor
	memoryMajorFaults

	ioAt

	networkAt // also the first of an interface's
	receivedBytes
	receivedErrors
	sentBytes
	sentErrors

	fsAt // of a container its writable layer, of a pod its ephemeral storage
	fsAvailable
	fsCapacity
	fsUsed
	fsInodesFree
	fsInodes
	fsInodesUsed

	logsAt
	logsUsed

	imagesAt
	imagesAvailable
	imagesCapacity
	imagesUsed
	imagesInodesFree

	layersAt // containerFs
	layersAvailable
	layersCapacity
	layersUsed
	layersInodesFree

	limitsAt // rlimit
	limitsMaxPid
	limitsCurProc

	swapAt
	swapAvailable
	swapUsage

	processes

	psiFirst // of each of cpu, memory, io: psiFigures
	figures  = psiFirst + 3*psiFigures
)

// The figures of a PSI block.
const (
	psiSome      = iota // total
	psiSomeAvg10        // bits of a float64, in percent
	psiSomeAvg60
	psiSomeAvg300
	psiFull
	psiFullAvg10
	psiFullAvg60
	psiFullAvg300
	psiFigures
)

// The texts of a part of a summary.
const (
	textName = iota
	textNamespace
	textUID
	textClaim
	textKinds
)

// sample is what a part of a summary (node, pod, container, volume, interface) tells.
type sample struct {
	has  [(figures + 63) / 64]uint64 // by figure
	v    [figures]uint64
	text [textKinds][]byte // good until the next pod
}

func (s *sample) clear() {
	clear(s.has[:])
	s.text = [textKinds][]byte{}
}

func (s *sample) set(f int, v uint64) {
	s.has[f/64] |= 1 << (f % 64)
	s.v[f] = v
}

func (s *sample) tells(f int) bool { return s.has[f/64]&(1<<(f%64)) != 0 }

// figure is 0 where the sample does not tell it.
func (s *sample) figure(f int) uint64 {
	if s.tells(f) {
		return s.v[f]
	}
	return 0
}

// zero says that the sample tells a figure, which is 0.
func (s *sample) zero(f int) bool { return s.tells(f) && s.v[f] == 0 }

// The lists and objects that have samples.
const (
	partNode = 1 + iota
	partPods
	partSystem // containers
	partNodeInterfaces
	partContainers
	partVolumes
	partInterfaces
	parts
)

func psiShape(resource int) shape {
	at := psiFirst + resource*psiFigures
	return shape{
		{key: `"full"`, kind: object, sub: shape{
			{key: `"total"`, kind: number, slot: at + psiFull},
			{key: `"avg10"`, kind: decimal, slot: at + psiFullAvg10},
			{key: `"avg60"`, kind: decimal, slot: at + psiFullAvg60},
			{key: `"avg300"`, kind: decimal, slot: at + psiFullAvg300},
		}},
		{key: `"some"`, kind: object, sub: shape{
			{key: `"total"`, kind: number, slot: at + psiSome},
			{key: `"avg10"`, kind: decimal, slot: at + psiSomeAvg10},
			{key: `"avg60"`, kind: decimal, slot: at + psiSomeAvg60},
			{key: `"avg300"`, kind: decimal, slot: at + psiSomeAvg300},
		}},
	}
}

// fsShape is of a block of a file system whose figures begin with at; all or the first of them.
func fsShape(at, n int) shape {
	return shape{
		{key: `"time"`, kind: instant, slot: at},
		{key: `"availableBytes"`, kind: number, slot: at + 1},
		{key: `"capacityBytes"`, kind: number, slot: at + 2},
		{key: `"usedBytes"`, kind: number, slot: at + 3},
		{key: `"inodesFree"`, kind: number, slot: at + 4},
		{key: `"inodes"`, kind: number, slot: at + 5},
		{key: `"inodesUsed"`, kind: number, slot: at + 6},
	}[:n:n]
}

// interfaces is the list of the interfaces of a network block. Its other fields repeat the one
// that is called eth0.
func networkShape(interfaces int) shape {
	return shape{
		{key: `"time"`, kind: instant, slot: networkAt},
		{key: `"name"`}, {key: `"rxBytes"`}, {key: `"rxErrors"`}, {key: `"txBytes"`}, {key: `"txErrors"`},
		{key: `"interfaces"`, kind: elements, slot: interfaces, sub: shape{
			{key: `"name"`, kind: text, slot: textName},
			{key: `"rxBytes"`, kind: number, slot: receivedBytes},
			{key: `"rxErrors"`, kind: number, slot: receivedErrors},
			{key: `"txBytes"`, kind: number, slot: sentBytes},
			{key: `"txErrors"`, kind: number, slot: sentErrors},
		}},
	}
}

var (
	beganRule = rule{key: `"startTime"`, kind: instant, slot: began}
	nameRule  = rule{key: `"name"`, kind: text, slot: textName}
	cpuRule   = rule{key: `"cpu"`, kind: object, sub: shape{
		{key: `"time"`, kind: instant, slot: cpuAt},
		{key: `"usageNanoCores"`},
		{key: `"usageCoreNanoSeconds"`, kind: number, slot: cpuUsed},
		{key: `"psi"`, kind: object, sub: psiShape(0)},
	}}
	memoryRule = rule{key: `"memory"`, kind: object, sub: shape{
		{key: `"time"`, kind: instant, slot: memoryAt},
		{key: `"availableBytes"`, kind: number, slot: memoryAvailable},
		{key: `"usageBytes"`, kind: number, slot: memoryUsage},
		{key: `"workingSetBytes"`, kind: number, slot: memoryWorkingSet},
		{key: `"rssBytes"`, kind: number, slot: memoryRSS},
		{key: `"pageFaults"`, kind: number, slot: memoryFaults},
		{key: `"majorPageFaults"`, kind: number, slot: memoryMajorFaults},
		{key: `"psi"`, kind: object, sub: psiShape(1)},
	}}
	ioRule = rule{key: `"io"`, kind: object, sub: shape{
		{key: `"time"`, kind: instant, slot: ioAt},
		{key: `"psi"`, kind: object, sub: psiShape(2)},
	}}
	swapRule = rule{key: `"swap"`, kind: object, sub: shape{
		{key: `"time"`, kind: instant, slot: swapAt},
		{key: `"swapAvailableBytes"`, kind: number, slot: swapAvailable},
		{key: `"swapUsageBytes"`, kind: number, slot: swapUsage},
	}}
	containerShape = shape{
		nameRule, beganRule, cpuRule, memoryRule, ioRule,
		{key: `"rootfs"`, kind: object, sub: fsShape(fsAt, 7)},
		{key: `"logs"`, kind: object, sub: shape{
			{key: `"time"`, kind: instant, slot: logsAt},
			{key: `"availableBytes"`}, {key: `"capacityBytes"`},
			{key: `"usedBytes"`, kind: number, slot: logsUsed},
			{key: `"inodesFree"`}, {key: `"inodes"`}, {key: `"inodesUsed"`},
		}},
		swapRule,
	}
	podShape = shape{
		{key: `"podRef"`, kind: object, sub: shape{
			nameRule,
			{key: `"namespace"`, kind: text, slot: textNamespace},
			{key: `"uid"`, kind: text, slot: textUID},
		}},
		beganRule,
		{key: `"containers"`, kind: elements, slot: partContainers, sub: containerShape},
		cpuRule, memoryRule, ioRule,
		{key: `"network"`, kind: object, sub: networkShape(partInterfaces)},
		{key: `"volume"`, kind: elements, slot: partVolumes, sub: append(fsShape(fsAt, 7),
			nameRule,
			rule{key: `"pvcRef"`, kind: object, sub: shape{{key: `"name"`, kind: text, slot: textClaim}, {key: `"namespace"`}}},
		)},
		{key: `"ephemeral-storage"`, kind: object, sub: fsShape(fsAt, 7)},
		{key: `"process_stats"`, kind: object, sub: shape{{key: `"process_count"`, kind: number, slot: processes}}},
		swapRule,
	}
	nodeShape = shape{
		{key: `"nodeName"`},
		{key: `"systemContainers"`, kind: elements, slot: partSystem, sub: containerShape},
		beganRule, cpuRule, memoryRule, ioRule,
		{key: `"network"`, kind: object, sub: networkShape(partNodeInterfaces)},
		{key: `"fs"`, kind: object, sub: fsShape(fsAt, 7)},
		{key: `"runtime"`, kind: object, sub: shape{
			{key: `"imageFs"`, kind: object, sub: fsShape(imagesAt, 5)},
			{key: `"containerFs"`, kind: object, sub: fsShape(layersAt, 5)},
		}},
		{key: `"rlimit"`, kind: object, sub: shape{
			{key: `"time"`, kind: instant, slot: limitsAt},
			{key: `"maxpid"`, kind: number, slot: limitsMaxPid},
			{key: `"curproc"`, kind: number, slot: limitsCurProc},
		}},
		swapRule,
	}
	summaryShape = shape{
		{key: `"node"`, kind: object, slot: partNode, sub: nodeShape},
		{key: `"pods"`, kind: elements, slot: partPods, sub: podShape},
	}
)

// summary decodes answers to GET /stats/summary. It holds the node's sample and one pod's at a
// time; both are told when they are complete.
type summary struct {
	decoder
	node, pod     sample
	onNode, onPod func()
	hasNode       bool // the answer had one
}

// newSummary makes a decoder that calls these when node and pod, with what belongs to them in
// lists, are complete. What they see is good until they return.
func newSummary(onNode, onPod func()) *summary {
	s := &summary{onNode: onNode, onPod: onPod}
	s.lists = make([][]sample, parts)
	for p := partSystem; p < parts; p++ {
		s.lists[p] = make([]sample, 0, 4)
	}
	s.begin, s.done = s.began, s.complete
	return s
}

// read decodes an answer. When it fails, what was told until then is true, but not all.
func (s *summary) read(r io.Reader) error {
	s.reset(r)
	s.sample, s.hasNode = &s.node, false
	if err := s.whole(summaryShape); err != nil {
		return err
	}
	if !s.hasNode {
		return errors.New("it has no node: not a summary")
	}
	return nil
}

func (s *summary) began(part int) {
	s.texts = s.texts[:0]
	if part == partNode {
		s.sample = &s.node
		s.lists[partSystem], s.lists[partNodeInterfaces] = s.lists[partSystem][:0], s.lists[partNodeInterfaces][:0]
	} else {
		s.sample = &s.pod
		for p := partContainers; p < parts; p++ {
			s.lists[p] = s.lists[p][:0]
		}
	}
	s.sample.clear()
}

func (s *summary) complete(part int) {
	if part == partNode {
		s.hasNode = true
		s.onNode()
	} else {
		s.onPod()
	}
}
