package kubelet

import (
	"bytes"
	"strings"

	"stint/scrape/kernel"
)

// capacity is what the node has, as its kernel tells: the summary has neither its memory nor
// its CPUs, and the API server is not asked.
type capacity struct {
	cpus, memory  float64 // online; bytes. 0: unknown
	stat, meminfo kernel.File
}

func newCapacity(root string) capacity {
	root = strings.TrimSuffix(root, "/")
	return capacity{stat: kernel.NewFile(root + "/proc/stat"), meminfo: kernel.NewFile(root + "/proc/meminfo")}
}

func (c *capacity) close() {
	c.stat.Close()
	c.meminfo.Close()
}

// read reads both; what cannot be read is unknown. CPUs and memory come and go.
func (c *capacity) read() {
	b, _ := c.stat.Read()
	c.cpus = onlineCPUs(b)
	b, _ = c.meminfo.Read()
	c.memory = totalMemory(b)
}

// onlineCPUs counts the lines "cpu0 …" of /proc/stat.
func onlineCPUs(b []byte) (n float64) {
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		word, _ := kernel.Field(l)
		number, ok := bytes.CutPrefix(word, []byte("cpu"))
		if _, rest, is := kernel.Number(number); ok && is && len(rest) == 0 {
			n++
		}
	}
	return n
}

// totalMemory is MemTotal of /proc/meminfo in bytes.
func totalMemory(b []byte) float64 {
	for len(b) > 0 {
		var l []byte
		l, b = kernel.Line(b)
		if rest, ok := bytes.CutPrefix(l, []byte("MemTotal:")); ok {
			kib, _, _ := kernel.Number(rest)
			return float64(kib) * 1024
		}
	}
	return 0
}
