// Command checks runs in the virtual machine of make test-vm, as a service. It installs the agent's
// package, receives what the service sends, and compares it with the kernel's files and with what it wrote
// to logs and journal; then it starts the machine again, upgrades the package and removes it. A line of JSON for
// each check leaves by the second serial port; at the end the machine is switched off.
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

	"stint/bench/receiver"
)

// Check is what leaves for each check; bench/vm reads it.
type Check struct {
	Name   string `json:"name"`
	Fault  string `json:"fault,omitempty"` // empty: it is right
	Detail string `json:"detail,omitempty"`
}

// The agent reads everything that it has of a machine without Kubernetes, each second.
const config = `
state_dir: /var/lib/stint
node_name: stint-vm
tail: {containers: {root: /var/log/pods}, files: [{include: [/var/log/app/*.log]}]}
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
	// The host gives the machine twenty minutes, for two boots.
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	again := run(ctx, report)
	out.Sync()
	if again {
		if _, err := command(ctx, "systemctl", "reboot"); err == nil {
			select {} // systemd ends it
		}
	}
	report("end", "", nil)
	unix.Sync()
	out.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// run does the checks of one boot; again says that the machine is to start once more.
func run(ctx context.Context, report func(name, detail string, err error)) (again bool) {
	r, err := receiver.New("127.0.0.1:4318")
	if err != nil {
		report("receiver", "", err)
		return false
	}
	type check struct {
		name string
		do   func() (string, error)
	}
	var before host
	checks := []check{
		{"cgroup v2", checkMachine},
		{"install", func() (string, error) { return checkInstall(ctx) }},
		{"security", func() (string, error) { return checkSecurity(ctx) }},
		{"reload", func() (string, error) { before = readHost(); return checkReload(ctx, r) }},
		{"host", func() (string, error) { return checkHost(ctx, r, before) }},
		{"journal", func() (string, error) { return checkJournal(ctx, r) }},
		{"file", func() (string, error) { return checkFile(ctx, r) }},
		{"container", func() (string, error) { return checkContainer(ctx, r) }},
		{"units", func() (string, error) { return checkUnits(ctx, r) }},
		{"kill", func() (string, error) { return checkKill(ctx, r) }},
		{"before the reboot", func() (string, error) { return "", beforeReboot(ctx, r) }},
	}
	if _, err := os.Stat(ownDir); err == nil {
		checks = []check{
			{"reboot", func() (string, error) { return checkReboot(ctx, r) }},
			{"stop", func() (string, error) { return checkStop(ctx) }},
			{"upgrade", func() (string, error) { return checkUpgrade(ctx, r) }},
			{"remove", func() (string, error) { return checkRemove(ctx) }},
			{"purge", func() (string, error) { return checkPurge(ctx) }},
			{"rpm", func() (string, error) { return checkRPM(ctx, r) }},
		}
	} else {
		again = true
	}
	for _, c := range checks {
		detail, err := c.do()
		if err != nil {
			own, _ := command(ctx, "journalctl", "-q", "-u", "stint-agent", "-n", "20", "--no-pager")
			err = fmt.Errorf("%w\n%s", err, own)
		}
		report(c.name, detail, err)
		if err != nil && (c.name == "install" || c.name == "reload") {
			return false // all else needs it
		}
	}
	return again
}

func checkMachine() (string, error) {
	var u unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &u); err != nil || u.Type != unix.CGROUP2_SUPER_MAGIC {
		return "", fmt.Errorf("/sys/fs/cgroup is no cgroup2: type %#x, %w", u.Type, err)
	}
	return text("/sys/fs/cgroup/cgroup.controllers"), nil
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
