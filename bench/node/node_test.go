// Package node runs the images and the Helm chart on a Kubernetes node: a virtual machine with containerd and a
// kubelet, before a control plane of processes of this machine. make test-node builds all and runs it.
package node

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stint/bench/receiver"
)

const (
	version   = "0.0.1" // of the images that make test-node makes
	namespace = "stint"
)

func TestNode(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a virtual machine: make test-node")
	}
	begin := time.Now()
	stage := func(name string, do func(t *testing.T)) bool {
		at := time.Now()
		ok := t.Run(name, do)
		t.Logf("%s: %v, %v since the beginning", name, time.Since(at).Round(time.Second), time.Since(begin).Round(time.Second))
		return ok
	}
	c := startCluster(t)
	t.Logf("the node is ready after %v", time.Since(begin).Round(time.Second))
	sink, err := receiver.New(hostIP + ":0")
	if err != nil {
		t.Fatal(err)
	}
	i := &installation{cluster: c, sink: sink}

	if !stage("install", i.install) {
		return // all else needs it
	}
	stage("notes", i.notes)
	stage("as the manifest says", i.confined)
	if !stage("workload", i.workload) {
		return
	}
	stage("metrics", i.metrics)
	stage("events and state", i.state)
	stage("rollout restart", i.restart)
	stage("TLS by an upgrade", i.encrypt)
	stage("new certificates", i.rotate)
	stage("each line once", func(t *testing.T) { i.lines(t, once) })
	stage("kill", i.kill)
	stage("no line lost", func(t *testing.T) { i.lines(t, lost) })
	stage("memory", i.memory)
	stage("kubelet that signs its own certificate", i.selfSigned)
	stage("uninstall", i.uninstall)
}

// installation is the chart on the cluster, and where its telemetry goes.
type installation struct {
	*cluster
	sink *receiver.Receiver
	now  *authority // of the certificates between agent and gateway
}

func (i *installation) helm(t *testing.T, args ...string) {
	t.Helper()
	if _, err := i.run("", "../../bin/helm", args...); err != nil {
		t.Fatalf("%v\n%s", err, i.describe())
	}
}

// describe is what kubectl says of stint's pods.
func (i *installation) describe() string {
	var said []string
	for _, args := range [][]string{{"get", "pods", "-A", "-o", "wide"}, {"-n", namespace, "describe", "pods"}, {"-n", namespace, "logs", "daemonset/stint-agent", "--tail=30"}, {"-n", namespace, "logs", "deployment/stint-cluster", "--tail=30"}} {
		out, err := i.kubectl("", args...)
		said = append(said, out)
		if err != nil {
			said = append(said, err.Error())
		}
	}
	return strings.Join(said, "\n")
}

// chart is helm's command with the values that a user of a registry's images and a destination gives, and more.
func (i *installation) chart(t *testing.T, command string, more ...string) {
	t.Helper()
	values := i.write(t, "values.yaml", fmt.Appendf(nil, `
image: {tag: %s}
exporters: {otlphttp: {endpoint: "http://%s", compression: none}}
networkPolicy: {enabled: true}
# An emulated machine answers late, and a request that is given up and sent again comes twice.
agent:
  podLabels: [app]
  config: {drain_timeout: 10s, scrape: {interval: 20s, kubelet: {timeout: 30s}}}
  env: [{name: STINT_EXPORTERS_OTLP_TIMEOUT, value: 60s}]
cluster:
  config: {drain_timeout: 10s}
  env: [{name: STINT_EXPORTERS_OTLPHTTP_TIMEOUT, value: 60s}]
`, version, i.sink.Address))
	i.helm(t, append([]string{command, "stint", "../../deploy/helm/stint", "--namespace", namespace, "--create-namespace", "--values", values, "--wait", "--timeout", patience.String()}, more...)...)
}

// install: as docs/install.md says. Both replicas of stint-cluster find room on the one node.
func (i *installation) install(t *testing.T) {
	i.chart(t, "install")
	i.mustKubectl(t, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=privileged")
	i.ready(t)
}

// ready: every pod of stint is, and none of their containers has restarted.
func (i *installation) ready(t *testing.T) {
	t.Helper()
	i.mustKubectl(t, "-n", namespace, "rollout", "status", "daemonset/stint-agent", "--timeout="+patience.String())
	i.mustKubectl(t, "-n", namespace, "rollout", "status", "deployment/stint-cluster", "--timeout="+patience.String())
	for _, name := range []string{"stint-agent", "stint-cluster"} {
		for _, p := range i.pods(t, namespace, "app.kubernetes.io/name="+name) {
			if p.Metadata.DeletionTimestamp != "" {
				continue
			}
			for _, s := range p.Status.ContainerStatuses {
				if !s.Ready || s.RestartCount != 0 {
					t.Errorf("%s: ready %v, %d restarts\n%s", p.Metadata.Name, s.Ready, s.RestartCount, i.describe())
				}
			}
		}
	}
}

// notes: the commands that helm prints.
func (i *installation) notes(t *testing.T) {
	if holder := i.mustKubectl(t, "-n", namespace, "get", "lease", "stint-cluster", "-o", "jsonpath={.spec.holderIdentity}"); !strings.HasPrefix(holder, "stint-cluster-") {
		t.Errorf("the lease is %q's", holder)
	}
	port := freePort(t)
	cmd := exec.Command(kubectl, "--kubeconfig", i.config, "-n", namespace, "port-forward", "daemonset/stint-agent", port+":8888")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	i.eventually(t, "the agent's page by port-forward", func() error {
		resp, err := http.Get("http://127.0.0.1:" + port + "/metrics")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && !strings.Contains(string(text), "\nstint_scrape_success") {
			err = fmt.Errorf("%s: %.300s", resp.Status, text)
		}
		// No scraper of a default installation fails for good.
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "stint_scrape_success") && !strings.HasSuffix(line, " 1\n") {
				err = errors.Join(err, errors.New(line))
			}
		}
		return err
	})
}

type pod struct {
	Metadata struct{ Name, UID, DeletionTimestamp string }
	Status   struct {
		PodIP             string
		ContainerStatuses []struct {
			Name         string
			Ready        bool
			RestartCount int
		}
	}
}

func (i *installation) pods(t *testing.T, ns, selector string) []pod {
	t.Helper()
	var list struct{ Items []pod }
	if err := json.Unmarshal([]byte(i.mustKubectl(t, "-n", ns, "get", "pods", "-l", selector, "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// confined: what the kernel says of the processes.
func (i *installation) confined(t *testing.T) {
	for name, uid := range map[string]string{"stint-agent": "0", "stint-cluster": "65532"} {
		for pid := range strings.FieldsSeq(i.mustHand(t, "pidof "+name)) {
			status := i.mustHand(t, "cat /proc/"+pid+"/status")
			for key, want := range map[string]string{
				"Uid": strings.Join([]string{uid, uid, uid, uid}, "\t"), "CapEff": "0000000000000000", "CapPrm": "0000000000000000", "CapBnd": "0000000000000000",
				"NoNewPrivs": "1", "Seccomp": "2",
			} {
				if !strings.Contains(status, "\n"+key+":\t"+want+"\n") {
					t.Errorf("%s, process %s: want %s %s, have\n%s", name, pid, key, want, status)
				}
			}
			for _, ns := range []string{"pid", "net", "ipc", "uts", "mnt"} {
				if i.mustHand(t, "readlink /proc/"+pid+"/ns/"+ns) == i.mustHand(t, "readlink /proc/1/ns/"+ns) {
					t.Errorf("%s is in the node's %s namespace", name, ns)
				}
			}
			if root := i.mustHand(t, "grep ' / / ' /proc/"+pid+"/mountinfo || grep ' / ro' /proc/"+pid+"/mountinfo"); !strings.Contains(root, " / ro") {
				t.Errorf("%s: its root is not read-only: %s", name, root)
			}
		}
	}
	_, warnings, err := i.output("", kubectl, "label", "--dry-run=server", "--overwrite", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(warnings, "stint-agent-") || strings.Contains(warnings, "stint-cluster-") {
		t.Errorf("of the profile restricted the API server says %s; want stint-agent there and stint-cluster not", warnings)
	}
}

// The pods that write: two replicas of two containers, of which logs are rotated, and one that ends again and again.
const workload = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: writer, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: writer}}
  template:
    metadata: {labels: {app: writer}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: one
          image: workload:1
          args: [-rate=20]
          env: [{name: CONTAINER, value: one}, &pod {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        - name: two
          image: workload:1
          args: [-rate=10]
          env: [{name: CONTAINER, value: two}, *pod]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: ending, namespace: default}
spec:
  selector: {matchLabels: {app: ending}}
  template:
    metadata: {labels: {app: ending}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: ends
          image: workload:1
          args: [-rate=20, -lines=200]
          env: [{name: CONTAINER, value: ends}, {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
`

// workload: lines arrive with the pod's identity, those of rotated logs and of a container that was started again, too.
func (i *installation) workload(t *testing.T) {
	i.apply(t, workload)
	i.mustKubectl(t, "rollout", "status", "deployment/writer", "--timeout="+patience.String())
	writers := i.pods(t, "default", "app=writer")
	i.eventually(t, "lines of all containers, one of which has ended, and a rotated log", func() error {
		var errs []error
		for _, p := range writers {
			for _, container := range []string{"one", "two"} {
				if len(i.sink.Logs(identity(p)+" k8s.container.name="+container)) == 0 {
					errs = append(errs, fmt.Errorf("no line of %s/%s", p.Metadata.Name, container))
				}
			}
		}
		if len(i.sink.Logs("k8s.pod.name=ending-0 k8s.statefulset.name=ending k8s.container.restart_count=1")) == 0 {
			errs = append(errs, errors.New("no line of ending-0 after its first end"))
		}
		if n, _ := i.hand("ls /var/log/pods/default_writer-*/one/*.log.* | wc -l"); strings.TrimSpace(n) == "0" {
			errs = append(errs, errors.New("no rotated log"))
		}
		return errors.Join(errs...)
	})
	for _, l := range i.sink.Logs("k8s.pod.name=" + writers[0].Metadata.Name)[:1] {
		t.Logf("%s\n%s\n%s", l.Resource, l.Attrs, l.Body)
	}
}

// identity is what everything of a pod of the writer says.
func identity(p pod) string {
	return "k8s.pod.name=" + p.Metadata.Name + " k8s.namespace.name=default k8s.pod.uid=" + p.Metadata.UID + " k8s.deployment.name=writer k8s.node.name=" + nodeName + " k8s.pod.label.app=writer"
}

// metrics: of the kubelet, of control groups and of the host.
func (i *installation) metrics(t *testing.T) {
	p := i.pods(t, "default", "app=writer")[0]
	who := "k8s.pod.name=" + p.Metadata.Name + " k8s.namespace.name=default k8s.pod.uid=" + p.Metadata.UID + " k8s.deployment.name=writer k8s.node.name=" + nodeName
	i.eventually(t, "metrics", func() error {
		var errs []error
		for _, m := range [][2]string{
			{"container.cpu.time", who + " k8s.container.name=one"},
			{"container.memory.working_set", who + " k8s.container.name=one"},
			{"container.cpu.pressure.time", who + " k8s.container.name=one"},
			{"k8s.pod.filesystem.usage", who},
			{"k8s.pod.network.io", who},
			{"system.cpu.time", "k8s.node.name=" + nodeName + " cpu.mode=user"},
			{"system.memory.usage", "k8s.node.name=" + nodeName},
		} {
			points := i.sink.Of(m[0], m[1])
			if len(points) == 0 {
				any := i.sink.Of(m[0], "")
				errs = append(errs, fmt.Errorf("no %s of %s; %d of others: %v", m[0], m[1], len(any), any[:min(len(any), 1)]))
			}
		}
		return errors.Join(errs...)
	})
}

// state: what stint-cluster has of the API server.
func (i *installation) state(t *testing.T) {
	p := i.pods(t, "default", "app=writer")[0]
	i.eventually(t, "events and state", func() error {
		var errs []error
		if !slices.ContainsFunc(i.sink.Logs("k8s.pod.name="+p.Metadata.Name), func(l receiver.Log) bool { return l.Attrs.Has("k8s.event.reason=Started") }) {
			errs = append(errs, fmt.Errorf("no event that %s has started", p.Metadata.Name))
		}
		for _, m := range [][2]string{
			{"k8s.deployment.available", "k8s.deployment.name=writer k8s.namespace.name=default"},
			{"k8s.container.restarts", "k8s.pod.name=ending-0 k8s.container.name=ends"},
			{"k8s.daemonset.ready_nodes", "k8s.daemonset.name=stint-agent k8s.namespace.name=stint"},
		} {
			if points := i.sink.Of(m[0], m[1]); !slices.ContainsFunc(points, func(p receiver.Point) bool { return p.Value > 0 }) {
				errs = append(errs, fmt.Errorf("no %s of %s over 0: %d points", m[0], m[1], len(points)))
			}
		}
		return errors.Join(errs...)
	})
}

// restart: kubectl rollout restart of the agents while pods write.
func (i *installation) restart(t *testing.T) {
	before := i.pods(t, namespace, "app.kubernetes.io/name=stint-agent")
	at := time.Now()
	i.mustKubectl(t, "-n", namespace, "rollout", "restart", "daemonset/stint-agent")
	i.ready(t)
	if after := i.pods(t, namespace, "app.kubernetes.io/name=stint-agent"); after[0].Metadata.UID == before[0].Metadata.UID {
		t.Errorf("%s is still the same pod", after[0].Metadata.Name)
	}
	t.Logf("no agent, or one not ready, for %v at most", time.Since(at).Round(time.Second))
	i.flows(t)
}

// flows: lines that were written from now on arrive.
func (i *installation) flows(t *testing.T) {
	t.Helper()
	p := i.pods(t, "default", "app=writer")[0]
	have := func() int { return len(i.sink.Logs("k8s.pod.name=" + p.Metadata.Name + " k8s.container.name=two")) }
	before := have()
	i.eventually(t, "lines of "+p.Metadata.Name, func() error {
		// All that was under way, and more: 10 lines are written a second.
		if now := have(); now < before+200 {
			return fmt.Errorf("%d lines, %d before\n%s", now, before, i.describe())
		}
		return nil
	})
}

// secrets puts certificates of an authority into the Secrets that the chart's values name. Trusted are those that trust says.
func (i *installation) secrets(t *testing.T, a *authority, trust ...*authority) {
	t.Helper()
	var ca []byte
	for _, of := range trust {
		ca = append(ca, of.pem...)
	}
	text := func(b []byte) string { return strconv.Quote(string(b)) }
	for secret, names := range map[string][]string{"stint-cluster-tls": {"stint-cluster-headless.stint.svc", "stint-cluster.stint.svc"}, "stint-agent-tls": nil} {
		cert, key := a.sign(t, secret, "", names...)
		i.apply(t, fmt.Sprintf("apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {name: %s, namespace: %s}\nstringData: {tls.crt: %s, tls.key: %s, ca.crt: %s}\n",
			secret, namespace, text(cert), text(key), text(ca)))
	}
	i.now = a
}

// encrypt: an upgrade turns TLS on, with Secrets that somebody else made.
func (i *installation) encrypt(t *testing.T) {
	a := newAuthority(t, "first")
	i.secrets(t, a, a)
	i.chart(t, "upgrade", "--set", "tls.mode=secrets")
	i.ready(t)
	i.shows(t, a)
	i.flows(t)
}

// shows: a replica of stint-cluster shows a certificate of this authority.
func (i *installation) shows(t *testing.T, a *authority) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.pem)
	cert, key := a.sign(t, "test", "")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range i.pods(t, namespace, "app.kubernetes.io/name=stint-cluster") {
		if p.Metadata.DeletionTimestamp != "" {
			continue
		}
		i.eventually(t, p.Metadata.Name+" with a certificate of "+a.cert.Subject.CommonName, func() error {
			conn, err := tls.Dial("tcp", net.JoinHostPort(p.Status.PodIP, "4317"), &tls.Config{RootCAs: roots, ServerName: "stint-cluster-headless.stint.svc", Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
			if err == nil {
				conn.Close()
			}
			return err
		})
	}
}

// rotate: certificates of another authority, in the two steps in which nobody is refused. No pod is started again by it.
func (i *installation) rotate(t *testing.T) {
	uids := func() map[string]bool {
		m := map[string]bool{}
		for _, p := range i.pods(t, namespace, "app.kubernetes.io/part-of=stint") {
			if p.Metadata.DeletionTimestamp == "" {
				m[p.Metadata.UID] = true
			}
		}
		return m
	}
	before, old := uids(), i.now
	next := newAuthority(t, "second")
	i.secrets(t, next, old, next)
	i.shows(t, next)
	i.flows(t)
	i.secrets(t, next, next)
	// The old authority counts no more when a client of it is refused.
	cert, key := old.sign(t, "test", "")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range i.pods(t, namespace, "app.kubernetes.io/name=stint-cluster") {
		i.eventually(t, p.Metadata.Name+" to refuse the old authority", func() error {
			conn, err := tls.Dial("tcp", net.JoinHostPort(p.Status.PodIP, "4317"), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
			if err != nil {
				return nil
			}
			defer conn.Close()
			conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			// TLS 1.3: a server that refuses the client's certificate says so after the handshake.
			var alert *net.OpError
			if _, err := conn.Read(make([]byte, 1)); errors.As(err, &alert) && alert.Op == "remote error" {
				return nil
			}
			return errors.New("a client of the old authority is taken")
		})
	}
	i.flows(t)
	if after := uids(); !maps.Equal(before, after) {
		t.Errorf("pods %v became %v", before, after)
	}
	i.ready(t)
	// New replicas know the new authority only: that agents come to them says that they show the new certificate.
	i.mustKubectl(t, "-n", namespace, "rollout", "restart", "deployment/stint-cluster")
	i.ready(t)
	i.flows(t)
}

// kill: agents that end without a word.
func (i *installation) kill(t *testing.T) {
	for range 3 {
		pid := i.mustHand(t, "pidof stint-agent")
		i.mustHand(t, "kill -9 "+pid)
		i.eventually(t, "another process", func() error {
			if now, err := i.hand("pidof stint-agent"); err != nil || strings.TrimSpace(now) == pid {
				return fmt.Errorf("process %s: %w", now, err)
			}
			return nil
		})
		i.flows(t)
	}
	p := i.pods(t, namespace, "app.kubernetes.io/name=stint-agent")[0]
	i.mustKubectl(t, "-n", namespace, "delete", "pod", p.Metadata.Name, "--force", "--grace-period=0")
	i.ready(t)
	i.flows(t)
}

type found struct {
	times map[int]int // of each line
	last  int         // of the stream; 0: not known yet
}

// wanted says what may not be.
type wanted string

const (
	once wanted = "lost or repeated"
	lost wanted = "lost"
)

// lines: the writers say how many lines each stream has, and all of them are there. Then they are replaced by others.
func (i *installation) lines(t *testing.T, want wanted) {
	i.mustHand(t, "kill -USR1 $(pidof workload) || true; true")
	var total, repeated, streams, runs int
	i.eventually(t, "all lines of streams that have ended", func() error {
		all := map[string]*found{}
		for _, l := range i.sink.Logs("k8s.namespace.name=default") {
			f := strings.Fields(l.Body)
			if len(f) != 3 || strings.Count(f[0], "/") != 3 {
				continue // an event
			}
			n, err := strconv.Atoi(f[1])
			if err != nil {
				return err
			}
			s := all[f[0]]
			if s == nil {
				s = &found{times: map[int]int{}}
				all[f[0]] = s
			}
			s.times[n]++
			if f[2] == "end" {
				s.last = n
			}
		}
		total, repeated, streams, runs = 0, 0, len(all), 0
		var errs []error
		for name, s := range all {
			if strings.HasPrefix(name, "ending-0/") {
				runs++
			}
			if s.last == 0 {
				errs = append(errs, fmt.Errorf("%s has no end after %d lines", name, len(s.times)))
			}
			for n := 1; n <= s.last; n++ {
				if s.times[n] == 0 {
					errs = append(errs, fmt.Errorf("line %d of %d of %s is missing", n, s.last, name))
					break
				}
				total++
				repeated += s.times[n] - 1
			}
		}
		for _, p := range i.pods(t, "default", "app=ending") {
			if r := p.Status.ContainerStatuses[0].RestartCount; runs < 2*r {
				errs = append(errs, fmt.Errorf("%d streams of ending-0, which has restarted %d times", runs, r))
			}
		}
		return errors.Join(errs...)
	})
	if want == once && repeated > 0 {
		t.Errorf("%d lines came again", repeated)
	}
	t.Logf("%d lines in %d streams, none lost, %d came again; %s rotated logs are there, %s of them compressed", total, streams, repeated,
		i.mustHand(t, "ls /var/log/pods/default_writer-*/*/ | grep -c '[.]log[.]' || true"), i.mustHand(t, "ls /var/log/pods/default_writer-*/*/ | grep -c '[.]gz' || true"))
	if want == once {
		i.mustKubectl(t, "rollout", "restart", "deployment/writer")
		i.mustKubectl(t, "rollout", "status", "deployment/writer", "--timeout="+patience.String())
		i.eventually(t, "the new writers alone", func() error {
			if n := len(i.pods(t, "default", "app=writer")); n != 2 {
				return fmt.Errorf("%d pods", n)
			}
			return nil
		})
	}
}

// memory: by the kubelet.
func (i *installation) memory(t *testing.T) {
	var summary struct {
		Pods []struct {
			PodRef     struct{ Name string }
			Containers []struct {
				Memory struct{ RSSBytes, WorkingSetBytes int64 }
			}
		}
	}
	if err := json.Unmarshal([]byte(i.mustKubectl(t, "get", "--raw", "/api/v1/nodes/"+nodeName+"/proxy/stats/summary")), &summary); err != nil {
		t.Fatal(err)
	}
	for _, p := range summary.Pods {
		if !strings.HasPrefix(p.PodRef.Name, "stint-") {
			continue
		}
		for _, m := range p.Containers {
			t.Logf("%s: RSS %.1f MiB, working set %.1f MiB", p.PodRef.Name, float64(m.Memory.RSSBytes)/(1<<20), float64(m.Memory.WorkingSetBytes)/(1<<20))
			if strings.HasPrefix(p.PodRef.Name, "stint-agent") && m.Memory.RSSBytes > 64<<20 {
				t.Errorf("%s has %d bytes; its request is 64 MiB", p.PodRef.Name, m.Memory.RSSBytes)
			}
		}
	}
}

// selfSigned: as kubeadm and kind have it. The agent says so; pods are known all the same, and a value makes the rest work.
func (i *installation) selfSigned(t *testing.T) {
	i.mustHand(t, "sed -i /^tls/d /etc/kubernetes/kubelet.yaml; systemctl restart kubelet")
	i.eventually(t, "the agent's complaint", func() error {
		text, err := i.hand("cat /var/log/pods/" + namespace + "_stint-agent-*/stint-agent/*.log")
		if err == nil && !strings.Contains(text, "the kubelet's certificate is not trusted") {
			err = errors.New("none in its log")
		}
		return err
	})
	i.apply(t, strings.ReplaceAll(workload, "writer", "unverified"))
	i.eventually(t, "lines of new pods", func() error {
		if len(i.sink.Logs("k8s.deployment.name=unverified k8s.pod.label.app=unverified k8s.container.name=one")) == 0 {
			return errors.New("none")
		}
		return nil
	})
	i.chart(t, "upgrade", "--set", "tls.mode=secrets", "--set", "agent.config.scrape.kubelet.insecure_skip_verify=true")
	p := i.pods(t, "default", "app=unverified")[0]
	i.eventually(t, "the kubelet's figures", func() error {
		if len(i.sink.Of("k8s.pod.filesystem.usage", "k8s.pod.name="+p.Metadata.Name)) == 0 {
			return errors.New("none")
		}
		return nil
	})
}

// uninstall: what docs/install.md says stays, and nothing else.
func (i *installation) uninstall(t *testing.T) {
	i.helm(t, "uninstall", "stint", "--namespace", namespace, "--wait")
	i.mustHand(t, "test -s /var/lib/stint/tail/offsets")
	left := i.mustKubectl(t, "-n", namespace, "get", "configmaps,leases,pods,services,serviceaccounts,deployments,daemonsets,poddisruptionbudgets,networkpolicies", "-o", "name")
	for name := range strings.FieldsSeq(left) {
		if !slices.Contains([]string{"configmap/kube-root-ca.crt", "serviceaccount/default", "configmap/stint-cluster-events", "lease.coordination.k8s.io/stint-cluster"}, name) {
			t.Errorf("%s is left", name)
		}
	}
}
