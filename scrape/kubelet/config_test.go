package kubelet

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCheckReportsEveryFault(t *testing.T) {
	if err := Defaults().Check(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	good := Defaults()
	good.Endpoint, good.Pin, good.PodsAPISocket = "https://[fd00::1]:10250/", strings.Repeat("0a", 32), ""
	if err := good.Check(); err != nil {
		t.Errorf("good ones: %v", err)
	}
	bad := Config{Enabled: "yes", Endpoint: "http://node:10255", Pin: "abc", InsecureSkipVerify: true, PodsAPISocket: "pods.sock", Timeout: time.Hour}
	err := bad.Check()
	if err == nil {
		t.Fatal("no fault was found")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, key := range []string{"enabled", "endpoint", "pin", "insecure_skip_verify", "pods_api_socket", "timeout", "interval", "volumes"} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], "scrape.kubelet."+key+": ") || !strings.Contains(lines[i], ";") {
			t.Errorf("line %d is not about %s with a remedy:\n%v", i, key, err)
		}
	}
	for _, e := range []string{"https://", "https://node:0", "https://node:10250/pods", "https://node?x", "node:10250", "https://node:99999"} {
		cfg := Defaults()
		if cfg.Endpoint = e; cfg.Check() == nil {
			t.Errorf("endpoint %q passes", e)
		}
	}
	err = Config{Enabled: "auto", Endpoint: "https://me:secret@node:10250", PodsAPISocket: "/" + strings.Repeat("x", 107), Timeout: time.Second}.Check()
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "pods_api_socket") {
		t.Errorf("password and long socket path: %v", err)
	}
}

func TestOn(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	dir := t.TempDir()
	there, missing := filepath.Join(dir, "there"), filepath.Join(dir, "missing")
	write(t, there, nil)
	for name, tc := range map[string]struct {
		cfg  Config
		env  string
		want bool
	}{
		"nothing of Kubernetes":  {Config{Enabled: "auto", PodsAPISocket: missing, TokenFile: missing}, "", false},
		"paths are empty":        {Config{Enabled: "auto"}, "", false},
		"in a pod":               {Config{Enabled: "auto", PodsAPISocket: missing, TokenFile: missing}, "10.0.0.1", true},
		"the kubelet's socket":   {Config{Enabled: "auto", PodsAPISocket: there, TokenFile: missing}, "", true},
		"a token":                {Config{Enabled: "auto", PodsAPISocket: missing, TokenFile: there}, "", true},
		"wanted without a sign":  {Config{Enabled: "true"}, "", true},
		"not wanted with a sign": {Config{Enabled: "false", TokenFile: there}, "10.0.0.1", false},
	} {
		t.Setenv("KUBERNETES_SERVICE_HOST", tc.env)
		if got := tc.cfg.On(); got != tc.want {
			t.Errorf("%s: On() = %v, want %v", name, got, tc.want)
		}
	}
}
