package dedup

// twins are the metrics that the kubelet has of the node and /proc, too, under another name:
// the overlap of class E and N where the host's is the better one. What is not here is a figure
// of its own.
var twins = map[string]string{
	"k8s.node.cpu.time":             "system.cpu.time",
	"k8s.node.cpu.usage":            "system.cpu.time",
	"k8s.node.memory.usage":         "system.memory.usage",
	"k8s.node.memory.rss":           "system.memory.usage",
	"k8s.node.paging.faults":        "system.paging.faults",
	"k8s.node.network.io":           "system.network.io",
	"k8s.node.network.errors":       "system.network.errors",
	"k8s.node.uptime":               "system.uptime",
	"k8s.node.pid.usage":            "system.thread.count",
	"k8s.node.pid.limit":            "system.process.limit",
	"k8s.node.swap.usage":           "system.paging.usage",
	"k8s.node.swap.available":       "system.paging.usage",
	"k8s.node.cpu.pressure.time":    "system.cpu.pressure.time",
	"k8s.node.memory.pressure.time": "system.memory.pressure.time",
	"k8s.node.io.pressure.time":     "system.io.pressure.time",
}

// Concept is the name under which a metric's quantity is claimed.
func Concept(metric string) string {
	if t, ok := twins[metric]; ok {
		return t
	}
	return metric
}

// HasTwin says whether the kubelet has the quantity of a metric of the host, too.
func HasTwin(host string) bool {
	for _, h := range twins {
		if h == host {
			return true
		}
	}
	return false
}
