// Command checks runs in the virtual machine of make test-vm, as a service. It starts the agent's
// service, receives what that sends, and compares it with the kernel's files and with what it wrote
// to the journal. A line of JSON for each check leaves by the second serial port; then the
// machine is switched off.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Check is what leaves for each check; bench/vm reads it.
type Check struct {
	Name   string `json:"name"`
	Fault  string `json:"fault,omitempty"` // empty: it is right
	Detail string `json:"detail,omitempty"`
}

const configFile = "/run/stint-agent.yaml"

// The agent reads everything that it has of a machine without Kubernetes, each second.
const config = `
state_dir: /var/lib/stint
node_name: stint-vm
tail: {containers: {root: /var/log/pods}, files: []}
journald: {enabled: true}
batch: {timeout: 500ms}
exporters: {otlphttp: {endpoint: "http://%s", compression: none}}
scrape:
  interval: 1s
  host: {network: {exclude: []}}
  cgroup: {enabled: true, units: true}
  kubelet: {enabled: false}
`

func main() {
	if len(os.Args) == 4 && os.Args[1] == "busy" {
		if err := busy(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	out, err := os.OpenFile("/dev/ttyS1", os.O_WRONLY, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	report := func(name, detail string, err error) {
		c := Check{Name: name, Detail: detail}
		if err != nil {
			c.Fault = err.Error()
		}
		line, _ := json.Marshal(c) // of strings: it cannot fail
		fmt.Fprintf(out, "%s\n", line)
	}
	// The host gives the machine ten minutes.
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	run(ctx, report)
	report("end", "", nil)
	unix.Sync()
	out.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func run(ctx context.Context, report func(name, detail string, err error)) {
	var u unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &u); err != nil || u.Type != unix.CGROUP2_SUPER_MAGIC {
		report("cgroup v2", "", fmt.Errorf("/sys/fs/cgroup is no cgroup2: type %#x, %v", u.Type, err))
		return
	}
	report("cgroup v2", text("/sys/fs/cgroup/cgroup.controllers"), nil)
	r, err := newReceiver()
	if err != nil {
		report("receiver", "", err)
		return
	}
	if err := os.WriteFile(configFile, fmt.Appendf(nil, config, r.address), 0o600); err != nil {
		report("configuration", "", err)
		return
	}
	before := readHost()
	if out, err := exec.CommandContext(ctx, "systemctl", "start", "stint-agent.service").CombinedOutput(); err != nil {
		report("service", "", fmt.Errorf("systemctl start: %w: %s", err, out))
		return
	}
	err = r.until(ctx, "metrics of the host", func() bool { return len(r.of("system.cpu.time", "")) > 0 })
	report("service", show(ctx, "ActiveState"), err)
	if err != nil {
		return
	}
	detail, err := checkHost(ctx, r, before)
	report("host", detail, err)
	detail, err = checkJournal(ctx, r)
	report("journal", detail, err)
	detail, err = checkContainer(ctx, r)
	report("container", detail, err)
	detail, err = checkUnits(ctx, r)
	report("units", detail, err)
	if out, err := exec.CommandContext(ctx, "systemctl", "stop", "stint-agent.service").CombinedOutput(); err != nil {
		report("stop", "", fmt.Errorf("systemctl stop: %w: %s", err, out))
		return
	}
	result := show(ctx, "Result") + " " + show(ctx, "ExecMainStatus")
	if err = nil; result != "success 0" {
		err = fmt.Errorf("the service ended with %s, want success 0", result)
	}
	report("stop", result, err)
}

// show is a property of the agent's service.
func show(ctx context.Context, property string) string {
	out, err := exec.CommandContext(ctx, "systemctl", "show", "-P", property, "stint-agent.service").Output()
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(out))
}

// text is the content of a file, or what went wrong.
func text(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}
