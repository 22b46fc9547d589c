package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

const logLines = 1000

// TestRunsAgent is the agent's image as the DaemonSet runs it: uid 0 without any capability, its root read-only, no new
// privileges, before a tree of root's logs of mode 0640. All their lines arrive; those of somebody else's log, which
// uid 0 may not read like this, do not.
func TestRunsAgent(t *testing.T) {
	dir := t.TempDir()
	logs, state, etc := filepath.Join(dir, "pods"), filepath.Join(dir, "state"), filepath.Join(dir, "etc")
	for _, d := range []string{logs, state, etc} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeLogs(t, logs, "mine", 0)
	writeLogs(t, logs, "theirs", 12345)
	sink := newSink(t)
	writeConfig(t, filepath.Join(etc, "agent.yaml"), fmt.Sprintf(`
node_name: n
tail: {files: []}
journald: {enabled: false}
batch: {timeout: 100ms}
scrape: {host: {enabled: false}, cgroup: {enabled: false}, kubelet: {enabled: false}}
admin: {listen: ""}
health: {listen: ""}
exporters: {otlphttp: {endpoint: %q, compression: none}}
`, sink.url))

	c := startImage(t, "stint-agent", 0, []string{"run", "--config", "/etc/stint/agent.yaml"},
		map[string]string{"/var/log/pods": logs + ":ro", "/var/lib/stint": state, "/etc/stint": etc + ":ro"})
	for sink.count("mine") < logLines {
		c.wait(t, sink.came)
	}
	c.stop(t)
	if n := sink.count("mine"); n != logLines {
		t.Errorf("%d lines of %d came\n%s", n, logLines, &c.out)
	}
	if n := sink.count("theirs"); n != 0 {
		t.Errorf("%d lines of a log that cannot be read came: it has a capability", n)
	}
	if _, err := os.Stat(filepath.Join(state, "tail", "offsets")); err != nil {
		t.Error(err)
	}
}

// TestRunsCluster is stint-cluster's image as the Deployment runs it, under the Restricted profile: the uid that the image
// has, which is not root's, without any capability, its root read-only, no new privileges. It says that it is ready, hands
// on what it is sent, and ends on SIGTERM. There is no Kubernetes here: state metrics and events are off.
func TestRunsCluster(t *testing.T) {
	const uid = 65532
	dir := t.TempDir()
	state, etc := filepath.Join(dir, "state"), filepath.Join(dir, "etc")
	for _, d := range []string{state, etc} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(state, uid, uid); err != nil { // as fsGroup does
		t.Fatal(err)
	}
	sink := newSink(t)
	otlp, health := freeAddress(t), freeAddress(t)
	config := filepath.Join(etc, "cluster.yaml")
	writeConfig(t, config, fmt.Sprintf(`
state: {enabled: false}
events: {enabled: false}
gateway: {grpc: "", http: %q}
batch: {timeout: 100ms}
admin: {listen: ""}
health: {listen: %q}
exporters: {otlphttp: {endpoint: %q, compression: none}}
`, otlp, health, sink.url))
	if err := os.Chmod(config, 0o644); err != nil { // as a ConfigMap's
		t.Fatal(err)
	}

	c := startImage(t, "stint-cluster", uid, []string{"run", "--config", "/etc/stint/cluster.yaml"},
		map[string]string{"/var/lib/stint-cluster": state, "/etc/stint": etc + ":ro"})
	ready := make(chan struct{}, 1)
	go func() { // until the test ends
		for t.Context().Err() == nil {
			if resp, err := http.Get("http://" + health + "/readyz"); err == nil {
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					ready <- struct{}{}
					return
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	c.wait(t, ready)
	for _, line := range []string{"Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} {
		if status := c.status(t); !strings.Contains(status, line) {
			t.Errorf("not %q:\n%s", line, status)
		}
	}
	body := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"<sent 1>"}}]}]}]}`
	resp, err := http.Post("http://"+otlp+"/v1/logs", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	for sink.count("sent") < 1 {
		c.wait(t, sink.came)
	}
	c.stop(t)
	if n := sink.count("sent"); n != 1 {
		t.Errorf("the line came %d times\n%s", n, &c.out)
	}
	if !strings.Contains(c.out.String(), "replica stopped") {
		t.Errorf("it was killed:\n%s", &c.out)
	}
}

// container is an image that runs under runc.
type container struct {
	runc, root, id string
	cmd            *exec.Cmd
	out            bytes.Buffer  // to be read after ended
	ended          chan struct{} // err is set then
	err            error
}

// startImage starts a program's image as a uid that has to be the image's.
func startImage(t *testing.T, program string, uid int, args []string, binds map[string]string) *container {
	t.Helper()
	runc, err := exec.LookPath("runc")
	if err != nil || os.Getuid() != 0 {
		t.Skip("takes root and runc")
	}
	img := platforms(t, program)[here()]
	if img == nil {
		t.Skip("no image for " + here())
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if user := fmt.Sprintf("%d:%d", uid, uid); cfg.Config.User != user {
		t.Fatalf("the image's user is %q, not %s", cfg.Config.User, user)
	}
	dir := t.TempDir()
	rootfs := filepath.Join(dir, "rootfs")
	if err := os.Mkdir(rootfs, 0o755); err != nil {
		t.Fatal(err)
	}
	unpack(t, mutate.Extract(img), rootfs)
	spec, err := json.Marshal(runtimeSpec(rootfs, uid, append(cfg.Config.Entrypoint, args...), binds))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), spec, 0o600); err != nil {
		t.Fatal(err)
	}
	c := &container{runc: runc, root: filepath.Join(dir, "runc"), id: filepath.Base(filepath.Dir(dir)) + "-stint", ended: make(chan struct{})}
	c.cmd = exec.Command(runc, "--root", c.root, "run", "--bundle", dir, c.id)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.err = c.cmd.Wait(); close(c.ended) }()
	t.Cleanup(func() {
		exec.Command(runc, "--root", c.root, "delete", "--force", c.id).Run() // if it still runs
		<-c.ended
	})
	return c
}

// wait is until something came, for a minute at most; the container has to run on.
func (c *container) wait(t *testing.T, came <-chan struct{}) {
	t.Helper()
	select {
	case <-came:
	case <-c.ended:
		if strings.Contains(c.out.String(), "runc create failed") {
			t.Skipf("no container can be made here: %s", &c.out)
		}
		t.Fatalf("it ended: %v\n%s", c.err, &c.out)
	case <-time.After(time.Minute):
		t.Fatal("nothing came for a minute")
	}
}

// status is what the kernel says of the container's process.
func (c *container) status(t *testing.T) string {
	t.Helper()
	text, err := exec.Command(c.runc, "--root", c.root, "state", c.id).Output()
	if err != nil {
		t.Fatal(err)
	}
	var state struct{ Pid int }
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", state.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return string(status)
}

// stop ends it as a kubelet does, and it has to end well.
func (c *container) stop(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(c.runc, "--root", c.root, "kill", c.id, "TERM").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	select {
	case <-c.ended:
	case <-time.After(30 * time.Second): // the pods' terminationGracePeriodSeconds
		t.Fatal("it does not end on SIGTERM")
	}
	if c.err != nil {
		t.Errorf("it ended: %v\n%s", c.err, &c.out)
	}
}

// freeAddress is one of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func writeConfig(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

// writeLogs writes a container's log as a kubelet does.
func writeLogs(t *testing.T, root, name string, owner int) {
	t.Helper()
	dir := filepath.Join(root, "default_"+name+"_0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9", "c")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for i := range logLines {
		fmt.Fprintf(&b, "2026-01-02T03:04:05.000000000Z stdout F <%s %d>\n", name, i)
	}
	file := filepath.Join(dir, "0.log")
	if err := os.WriteFile(file, b.Bytes(), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, owner, owner); err != nil {
		t.Fatal(err)
	}
}

// runtimeSpec is what a container runtime makes of the pods' containers.
func runtimeSpec(rootfs string, uid int, args []string, binds map[string]string) map[string]any {
	mounts := []map[string]any{{"destination": "/proc", "type": "proc", "source": "proc", "options": []string{"nosuid", "noexec", "nodev"}}}
	for to, from := range binds {
		options := []string{"rbind", "nosuid", "nodev", "noexec"}
		from, readOnly := strings.CutSuffix(from, ":ro")
		if readOnly {
			options = append(options, "ro")
		}
		mounts = append(mounts, map[string]any{"destination": to, "type": "bind", "source": from, "options": options})
	}
	none := []string{}
	return map[string]any{
		"ociVersion": "1.0.2",
		"root":       map[string]any{"path": rootfs, "readonly": true},
		"process": map[string]any{
			"user": map[string]int{"uid": uid, "gid": uid}, "cwd": "/", "args": args, "env": none, "noNewPrivileges": true,
			"capabilities": map[string]any{"bounding": none, "effective": none, "permitted": none, "inheritable": none, "ambient": none},
		},
		"mounts": mounts,
		// The network is the test's own, where the sink is.
		"linux": map[string]any{"namespaces": []map[string]string{{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}}},
	}
}

// sink takes OTLP and looks for lines in it, which stand in the bytes as they were written.
type sink struct {
	url  string
	came chan struct{}

	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{came: make(chan struct{}, 1)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *sink) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.text.Write(body)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-protobuf")
	select {
	case s.came <- struct{}{}:
	default:
	}
}

func (s *sink) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Count(s.text.Bytes(), []byte("<"+name+" "))
}
