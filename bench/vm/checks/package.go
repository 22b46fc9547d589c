package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"stint/bench/receiver"
)

const (
	oldPackage, oldVersion = "/opt/stint/old.deb", "0.0.1"
	newPackage, newVersion = "/opt/stint/new.deb", "0.0.2"
	oldRPM, newRPM         = "/opt/stint/old.rpm", "/opt/stint/new.rpm"
	ownDir                 = "/var/lib/checks" // what is known over the reboot
	namedBefore            = "/var/lib/checks-named"
	appLog                 = "/var/log/app/app.log"
	stateDir               = "/var/lib/stint"
)

func command(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// active: systemd says so, which of Type=notify means that the agent has said that it is ready.
func active(ctx context.Context) error {
	for _, ask := range []string{"is-active", "is-enabled"} {
		if _, err := command(ctx, "systemctl", ask, "stint-agent.service"); err != nil {
			return err
		}
	}
	return nil
}

// checkInstall: the package brings a service that runs at once, on its commented file, as its user, with one capability.
func checkInstall(ctx context.Context) (string, error) {
	if err := os.WriteFile(namedBefore, []byte(strings.Join(named(), "\n")), 0o600); err != nil {
		return "", err
	}
	if _, err := command(ctx, "apt-get", "install", "-y", oldPackage); err != nil {
		return "", err
	}
	if err := active(ctx); err != nil {
		return "", err
	}
	status := "/proc/" + show(ctx, "MainPID") + "/status"
	var errs []error
	for _, name := range []string{"CapEff", "CapPrm", "CapBnd", "CapAmb"} {
		if got := statusLine(status, name); got != "0000000000000004" { // CAP_DAC_READ_SEARCH
			errs = append(errs, fmt.Errorf("%s is %q", name, got))
		}
	}
	id, err := command(ctx, "id", "-u", "stint")
	if err != nil {
		return "", err
	}
	if uid, _, _ := strings.Cut(statusLine(status, "Uid"), "\t"); uid != id || id == "0" {
		errs = append(errs, fmt.Errorf("it runs as %s, stint is %s", uid, id))
	}
	for path, want := range map[string]string{stateDir: "drwx------ " + id, "/etc/stint/agent.yaml": "-rw-r----- 0"} {
		info, err := os.Stat(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if got := fmt.Sprint(info.Mode(), " ", info.Sys().(*syscall.Stat_t).Uid); got != want {
			errs = append(errs, fmt.Errorf("%s is %s, want %s", path, got, want))
		}
	}
	return oldVersion + ": active, enabled, as stint with one capability", errors.Join(errs...)
}

func statusLine(file, name string) string {
	for line := range strings.Lines(text(file)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// checkSecurity: systemd's own figure.
func checkSecurity(ctx context.Context) (string, error) {
	out, err := command(ctx, "systemd-analyze", "security", "--no-pager", "stint-agent.service")
	if err != nil {
		return "", err
	}
	_, figure, _ := strings.Cut(out, "Overall exposure level for stint-agent.service: ")
	figure, _, _ = strings.Cut(figure, " ")
	if exposure, err := strconv.ParseFloat(figure, 64); err != nil || exposure > 2.0 {
		return "", fmt.Errorf("exposure %q, want at most 2.0", figure)
	}
	return "exposure " + figure, nil
}

// checkReload: a reload takes up another configuration, and the process stays.
func checkReload(ctx context.Context, r *receiver.Receiver) (string, error) {
	pid := show(ctx, "MainPID")
	if err := os.WriteFile("/etc/stint/agent.yaml", fmt.Appendf(nil, config, r.Address), 0o640); err != nil {
		return "", err
	}
	if _, err := command(ctx, "systemctl", "reload", "stint-agent.service"); err != nil {
		return "", err
	}
	if err := r.Until(ctx, "metrics of the host", func() bool { return len(r.Of("system.cpu.time", "")) > 0 }); err != nil {
		return "", err
	}
	if now := show(ctx, "MainPID"); now != pid {
		return "", fmt.Errorf("process %s became %s", pid, now)
	}
	return "process " + pid + " goes on", active(ctx)
}

// write appends lines to a log that only its owner, who is neither root nor stint, and a group of nobody's may read.
func write(from, to int) error {
	if err := os.MkdirAll(filepath.Dir(appLog), 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(appLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, path := range []string{filepath.Dir(appLog), appLog} {
		if err := os.Chown(path, 12345, 12345); err != nil {
			return err
		}
	}
	for i := from; i < to; i++ {
		if _, err := fmt.Fprintln(f, appLine(i)); err != nil {
			return err
		}
	}
	return nil
}

func appLine(i int) string { return fmt.Sprintf("line %d of the application", i) }

// have waits for lines of the application and says how many came more than once.
func have(ctx context.Context, r *receiver.Receiver, from, to int) (repeated int, err error) {
	var n map[string]int
	err = r.Until(ctx, fmt.Sprintf("lines %d to %d of %s", from, to, appLog), func() bool {
		n = bodies(r)
		for i := from; i < to; i++ {
			if n[appLine(i)] == 0 {
				return false
			}
		}
		return true
	})
	for i := from; i < to; i++ {
		if n[appLine(i)] > 1 {
			repeated++
		}
	}
	return repeated, err
}

func bodies(r *receiver.Receiver) map[string]int {
	n := map[string]int{}
	for _, l := range r.Logs("") {
		n[l.Body]++
	}
	return n
}

// checkFile: each line of a log that belongs to somebody else, once.
func checkFile(ctx context.Context, r *receiver.Receiver) (string, error) {
	if err := write(0, 500); err != nil {
		return "", err
	}
	repeated, err := have(ctx, r, 0, 500)
	if err == nil && repeated > 0 {
		err = fmt.Errorf("%d lines came twice", repeated)
	}
	return "500 lines, each once", err
}

// checkKill: SIGKILL while lines are written; systemd starts it again, and no line is missing.
func checkKill(ctx context.Context, r *receiver.Receiver) (string, error) {
	for i := range 3 {
		pid := show(ctx, "MainPID")
		if err := write(500+200*i, 600+200*i); err != nil {
			return "", err
		}
		if _, err := command(ctx, "systemctl", "kill", "-s", "KILL", "stint-agent.service"); err != nil {
			return "", err
		}
		if err := write(600+200*i, 700+200*i); err != nil {
			return "", err
		}
		// Lines of after the kill can come from the next process only.
		if _, err := have(ctx, r, 600+200*i, 700+200*i); err != nil {
			return "", err
		}
		if now := show(ctx, "MainPID"); now == pid {
			return "", fmt.Errorf("process %s lives on", pid)
		}
	}
	repeated, err := have(ctx, r, 0, 1100)
	return fmt.Sprintf("3 kills, 600 lines, none lost, %d repeated", repeated), err
}

// beforeReboot leaves what has arrived, and lines in file and journal that have not.
func beforeReboot(ctx context.Context, r *receiver.Receiver) error {
	r.Refuse.Store(true)
	if err := write(1100, 1600); err != nil {
		return err
	}
	for i := range 20 {
		if _, err := command(ctx, "logger", "-t", "stint-reboot", fmt.Sprintf("before the reboot %d", i)); err != nil {
			return err
		}
	}
	b, err := json.Marshal(bodies(r))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(ownDir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(ownDir+"/arrived", b, 0o600)
}

// checkReboot: the service is there by itself, and what had not arrived does.
func checkReboot(ctx context.Context, r *receiver.Receiver) (string, error) {
	b, err := os.ReadFile(ownDir + "/arrived")
	if err != nil {
		return "", err
	}
	var arrived map[string]int
	if err := json.Unmarshal(b, &arrived); err != nil {
		return "", err
	}
	if arrived[appLine(1599)] != 0 {
		return "", errors.New("the last line arrived before the reboot")
	}
	if _, err := have(ctx, r, 1100, 1600); err != nil {
		return "", err
	}
	if err := r.Until(ctx, "journal of before the reboot", func() bool { return journal(r, "stint-reboot", "before the reboot ") >= 20 }); err != nil {
		return "", err
	}
	now, repeated := bodies(r), 0
	for i := range 1600 {
		switch n := arrived[appLine(i)] + now[appLine(i)]; {
		case n == 0:
			return "", fmt.Errorf("line %d is lost", i)
		case arrived[appLine(i)] > 0 && now[appLine(i)] > 0:
			repeated++
		}
	}
	return fmt.Sprintf("1600 lines, none lost, %d repeated by it", repeated), active(ctx)
}

// checkStop: it ends in order, and starts again.
func checkStop(ctx context.Context) (string, error) {
	if _, err := command(ctx, "systemctl", "stop", "stint-agent.service"); err != nil {
		return "", err
	}
	result := show(ctx, "Result") + " " + show(ctx, "ExecMainStatus")
	if result != "success 0" {
		return "", fmt.Errorf("the service ended with %s, want success 0", result)
	}
	_, err := command(ctx, "systemctl", "start", "stint-agent.service")
	return result, err
}

// checkUpgrade: the next version goes on where the one before ended, with the same configuration.
func checkUpgrade(ctx context.Context, r *receiver.Receiver) (string, error) {
	return upgrade(ctx, r, 1600, "apt-get", "install", "-y", newPackage)
}

// upgrade does it by a command, when that many lines have arrived.
func upgrade(ctx context.Context, r *receiver.Receiver, lines int, name string, args ...string) (string, error) {
	pid, before := show(ctx, "MainPID"), bodies(r)
	if _, err := command(ctx, name, args...); err != nil {
		return "", err
	}
	if err := write(lines, lines+100); err != nil {
		return "", err
	}
	if _, err := have(ctx, r, lines, lines+100); err != nil {
		return "", err
	}
	if now := show(ctx, "MainPID"); now == pid {
		return "", fmt.Errorf("process %s of the old version goes on", pid)
	}
	version, err := command(ctx, "/proc/"+show(ctx, "MainPID")+"/exe", "version")
	if err != nil || !strings.Contains(version, newVersion) || strings.Contains(version, oldVersion) {
		return "", fmt.Errorf("version %q, want %s: %w", version, newVersion, err)
	}
	for i, now := 0, bodies(r); i < lines; i++ {
		if now[appLine(i)] != before[appLine(i)] {
			return "", fmt.Errorf("line %d came again", i)
		}
	}
	if text("/etc/stint/agent.yaml") != strings.TrimSpace(fmt.Sprintf(config, r.Address)) {
		return "", errors.New("/etc/stint/agent.yaml is another one")
	}
	first, _, _ := strings.Cut(version, "\n")
	return first + ": no line again", active(ctx)
}

// checkRemove: the package goes, state, configuration and user stay.
func checkRemove(ctx context.Context) (string, error) {
	if _, err := command(ctx, "apt-get", "remove", "-y", "stint-agent"); err != nil {
		return "", err
	}
	for _, path := range []string{stateDir + "/tail/offsets", "/etc/stint/agent.yaml"} {
		if _, err := os.Stat(path); err != nil {
			return "", err
		}
	}
	if _, err := command(ctx, "systemctl", "is-active", "stint-agent.service"); err == nil {
		return "", errors.New("the service is still active")
	}
	out, err := command(ctx, "id", "stint")
	return "offsets, configuration and " + out + " stay", err
}

// named lists what has the agent's name in its own.
func named() (paths []string) {
	for _, dir := range []string{"/etc", "/usr", "/var", "/run", "/root", "/home"} {
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			// What can't be read went meanwhile; systemd remembers invocations of units.
			if err == nil && strings.Contains(d.Name(), "stint") && !strings.HasPrefix(path, "/run/systemd/units/") {
				paths = append(paths, path)
			}
			return nil
		})
	}
	return paths
}

// checkPurge: nothing has its name that did not have it before the installation.
func checkPurge(ctx context.Context) (string, error) {
	if _, err := command(ctx, "apt-get", "purge", "-y", "stint-agent"); err != nil {
		return "", err
	}
	b, err := os.ReadFile(namedBefore)
	if err != nil {
		return "", err
	}
	before, left := strings.Split(string(b), "\n"), []string(nil)
	for _, path := range named() {
		if !slices.Contains(before, path) {
			left = append(left, path)
		}
	}
	for _, file := range []string{"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"} {
		if slices.ContainsFunc(strings.Split(text(file), "\n"), func(l string) bool { return strings.HasPrefix(l, "stint:") }) {
			left = append(left, file)
		}
	}
	if len(left) > 0 {
		return "", fmt.Errorf("left: %v", left)
	}
	return "nothing left", nil
}

// checkRPM: the rpm by rpm's own tool, on this Debian, which has what the scripts call under the same names:
// installed, upgraded while it runs, and removed.
func checkRPM(ctx context.Context, r *receiver.Receiver) (string, error) {
	rpm := func(args ...string) (string, error) {
		return command(ctx, "rpm", append([]string{"--force-debian", "--nodeps"}, args...)...)
	}
	if _, err := rpm("-i", oldRPM); err != nil {
		return "", err
	}
	// Content, owner and mode of each file are as the package says.
	if out, err := rpm("-V", "stint-agent"); err != nil || out != "" {
		return "", fmt.Errorf("rpm -V: %q: %w", out, err)
	}
	if state := show(ctx, "ActiveState"); state != "inactive" {
		return "", fmt.Errorf("the service is %s, and nobody started it", state)
	}
	if err := os.WriteFile("/etc/stint/agent.yaml", fmt.Appendf(nil, config, r.Address), 0o640); err != nil {
		return "", err
	}
	if _, err := command(ctx, "systemctl", "enable", "--now", "stint-agent.service"); err != nil {
		return "", err
	}
	if err := write(1700, 1800); err != nil {
		return "", err
	}
	// The state was purged, so that all of the file comes.
	if _, err := have(ctx, r, 0, 1800); err != nil {
		return "", err
	}
	said, err := upgrade(ctx, r, 1800, "rpm", "--force-debian", "--nodeps", "-U", newRPM)
	if err != nil {
		return "", err
	}
	if _, err := rpm("-e", "stint-agent"); err != nil {
		return "", err
	}
	for _, path := range []string{stateDir + "/tail/offsets", "/etc/stint/agent.yaml.rpmsave"} {
		if _, err := os.Stat(path); err != nil {
			return "", err
		}
	}
	for _, path := range []string{"/usr/bin/stint-agent", "/etc/stint/agent.yaml", "/usr/lib/systemd/system/stint-agent.service"} {
		if _, err := os.Lstat(path); err == nil {
			return "", fmt.Errorf("%s is left", path)
		}
	}
	if state := show(ctx, "ActiveState"); state != "inactive" {
		return "", fmt.Errorf("the service is %s", state)
	}
	_, err = command(ctx, "id", "stint")
	return said + ", removed", err
}
