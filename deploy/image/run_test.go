package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
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

// TestRuns is the agent's image as the DaemonSet runs it: uid 0 without any capability, its root read-only, no new
// privileges, before a tree of root's logs of mode 0640. All their lines arrive; those of somebody else's log, which
// uid 0 may not read like this, do not.
func TestRuns(t *testing.T) {
	runc, err := exec.LookPath("runc")
	if err != nil || os.Getuid() != 0 {
		t.Skip("takes root and runc")
	}
	img := platforms(t, "stint-agent")[here()]
	if img == nil {
		t.Skip("no image for " + here())
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	rootfs, logs, state, etc := filepath.Join(dir, "rootfs"), filepath.Join(dir, "pods"), filepath.Join(dir, "state"), filepath.Join(dir, "etc")
	for _, d := range []string{rootfs, logs, state, etc} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	unpack(t, mutate.Extract(img), rootfs)
	writeLogs(t, logs, "mine", 0)
	writeLogs(t, logs, "theirs", 12345)

	sink := &sink{came: make(chan struct{}, 1)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: sink}
	go server.Serve(l)
	defer server.Close()
	config := fmt.Sprintf(`
node_name: n
tail: {files: []}
journald: {enabled: false}
batch: {timeout: 100ms}
scrape: {host: {enabled: false}, cgroup: {enabled: false}, kubelet: {enabled: false}}
admin: {listen: ""}
health: {listen: ""}
exporters: {otlphttp: {endpoint: "http://%s", compression: none}}
`, l.Addr())
	if err := os.WriteFile(filepath.Join(etc, "agent.yaml"), []byte(config), 0o640); err != nil {
		t.Fatal(err)
	}

	args := append(cfg.Config.Entrypoint, "run", "--config", "/etc/stint/agent.yaml")
	spec, err := json.Marshal(runtimeSpec(rootfs, args, map[string]string{"/var/log/pods": logs + ":ro", "/var/lib/stint": state, "/etc/stint": etc + ":ro"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), spec, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, runc, "--root", filepath.Join(dir, "runc"), "run", "--bundle", dir, filepath.Base(filepath.Dir(dir))+"-stint")
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // runc hands it on
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for sink.count("mine") < logLines {
		select {
		case <-sink.came:
		case err := <-ended:
			if strings.Contains(out.String(), "runc create failed") {
				t.Skipf("no container can be made here: %s", out.String())
			}
			t.Fatalf("it ended: %v\n%s", err, out.String())
		}
	}
	cancel()
	<-ended
	if n := sink.count("mine"); n != logLines {
		t.Errorf("%d lines of %d came\n%s", n, logLines, out.String())
	}
	if n := sink.count("theirs"); n != 0 {
		t.Errorf("%d lines of a log that cannot be read came: it has a capability", n)
	}
	if _, err := os.Stat(filepath.Join(state, "tail", "offsets")); err != nil {
		t.Error(err)
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

// runtimeSpec is what a container runtime makes of the DaemonSet's pod.
func runtimeSpec(rootfs string, args []string, binds map[string]string) map[string]any {
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
			"user": map[string]int{"uid": 0, "gid": 0}, "cwd": "/", "args": args, "env": none, "noNewPrivileges": true,
			"capabilities": map[string]any{"bounding": none, "effective": none, "permitted": none, "inheritable": none, "ambient": none},
		},
		"mounts": mounts,
		// The network is the test's own, where the sink is.
		"linux": map[string]any{"namespaces": []map[string]string{{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}}},
	}
}

// sink takes OTLP and looks for lines in it, which stand in the bytes as they were written.
type sink struct {
	came chan struct{}

	mu   sync.Mutex // guards text
	text bytes.Buffer
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
