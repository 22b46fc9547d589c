package kubelet

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config says how the kubelet of this node is reached, and which of its figures are sent.
type Config struct {
	Names    string `yaml:"-"` // scrape.names
	RootPath string `yaml:"-"` // scrape.root_path, whose /proc tells what the node has

	Enabled            string        `yaml:"enabled" enum:"auto,true,false" doc:"ask the kubelet about pods; auto: if KUBERNETES_SERVICE_HOST is set, or pods_api_socket or token_file exists"`
	Endpoint           string        `yaml:"endpoint" doc:"URL of the kubelet; its host must be a name or address of the kubelet's certificate; empty: https://NODE:10250 with the node's name"`
	Address            string        `yaml:"address" doc:"IP address of the kubelet, which names of nodes need where DNS does not know them; empty: $K8S_NODE_IP if endpoint is empty, too, else what DNS says"`
	CAFile             string        `yaml:"ca_file" doc:"PEM file of the authorities trusted for the kubelet's certificate, read again when it changes; empty: those of the system"`
	TokenFile          string        `yaml:"token_file" doc:"file of the bearer token, read again when it changes; empty: no token is sent"`
	Pin                string        `yaml:"pin" doc:"SHA-256 of the public key (SPKI) of the kubelet's certificate, base64 or hex: that key is trusted, and no authority and no name; for self-signed kubelets"`
	InsecureSkipVerify bool          `yaml:"insecure_skip_verify" doc:"accept any certificate: whoever answers at the endpoint gets the token"`
	PodsAPISocket      string        `yaml:"pods_api_socket" doc:"socket of the kubelet's Pods API (Kubernetes 1.37); where it is missing, /pods is asked instead; empty: it is not tried"`
	Timeout            time.Duration `yaml:"timeout" doc:"a request, or the first list of the Pods API, is given up after this; 100ms to 1m"`
	Interval           time.Duration `yaml:"interval" doc:"time between two questions for statistics, at each of which the kubelet looks at every log file; at least that of scrape; 1s to 1h"`
	Node               Figures       `yaml:"node" doc:"k8s.node.*"`
	Pods               Figures       `yaml:"pods" doc:"k8s.pod.*"`
	Containers         Figures       `yaml:"containers" doc:"container.* and k8s.container.*"`
	Volumes            string        `yaml:"volumes" enum:"pvc,all,none" doc:"whose k8s.pod.volume.* are sent; pvc: volumes with a claim, and emptyDir; all: also those of secrets, configuration, …"`
	Utilization        bool          `yaml:"utilization" doc:"also what pods and containers use by their limits and requests, and by what the node has"`
}

// Figures is a group of metrics of the kubelet's statistics.
type Figures struct {
	Enabled bool `yaml:"enabled" doc:"collect this group"`
	Detail  bool `yaml:"detail" doc:"also the metrics of this group that are off by default"`
}

// serviceAccount is where Kubernetes mounts a pod's credentials.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"

// Defaults fits a pod that has a service account. A kubelet with 250 pods needs some 40 ms for
// /pods (3.8 ms for 24 were measured); 5 s is for one that is short of CPU time, and half of
// the 10 s between two polls. Statistics of 110 pods cost it and the runtime 0.1 s of CPU time
// (21 ms for 24 were measured), and it renews them every 10 to 20 s; 30 s costs 0.3 % of a CPU.
func Defaults() Config {
	return Config{
		Enabled:       "auto",
		CAFile:        serviceAccount + "ca.crt",
		TokenFile:     serviceAccount + "token",
		PodsAPISocket: "/var/lib/kubelet/pods-api/pods-api.sock",
		Timeout:       5 * time.Second,
		Interval:      30 * time.Second,
		Node:          Figures{Enabled: true},
		Pods:          Figures{Enabled: true},
		Containers:    Figures{Enabled: true},
		Volumes:       "pvc",
	}
}

// On decides Enabled for this process: auto needs a sign of Kubernetes. In a pod that is the
// environment or the token; for an agent that runs on the node itself, the kubelet's socket.
func (c Config) On() bool {
	if c.Enabled != "auto" {
		return c.Enabled == "true"
	}
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return true
	}
	return slices.ContainsFunc([]string{c.PodsAPISocket, c.TokenFile}, func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	})
}

// maxSocketPath is what the kernel takes: sun_path of unix(7) has 108 bytes with the final zero.
const maxSocketPath = 107

// Check reports every fault at once, each under its YAML path.
func (c Config) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf("scrape.kubelet."+format, args...)) }

	if !slices.Contains([]string{"auto", "true", "false"}, c.Enabled) {
		fault("enabled: %q is none of auto, true, false; write one of them", c.Enabled)
	}
	if c.Endpoint != "" {
		if _, err := parseEndpoint(c.Endpoint); err != nil {
			fault("endpoint: %w; write e.g. https://node-1:10250", err)
		}
	}
	if c.Address != "" && net.ParseIP(c.Address) == nil {
		fault("address: %q is no IP address; names belong into endpoint", c.Address)
	}
	if c.Pin != "" {
		if _, err := parsePin(c.Pin); err != nil {
			fault("pin: %w; give the SHA-256 of the certificate's public key as 44 characters of base64 or 64 of hex", err)
		}
		if c.InsecureSkipVerify {
			fault("insecure_skip_verify: true, but pin is set, which it would make void; remove one of the two")
		}
	}
	if s := c.PodsAPISocket; s != "" && !filepath.IsAbs(s) {
		fault("pods_api_socket: %q is not an absolute path; begin it with /", s)
	} else if len(s) > maxSocketPath {
		fault("pods_api_socket: the path has %d bytes, the kernel takes %d; mount the socket's directory at a shorter path", len(s), maxSocketPath)
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute {
		fault("timeout: %v is out of range; give 100ms to 1m", c.Timeout)
	}
	if c.Interval < time.Second || c.Interval > time.Hour {
		fault("interval: %v is out of range; give 1s to 1h", c.Interval)
	}
	if !slices.Contains([]string{"pvc", "all", "none"}, c.Volumes) {
		fault("volumes: %q is none of pvc, all, none; write one of them", c.Volumes)
	}
	return errors.Join(errs...)
}

func parseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if strings.Contains(s, "@") { // checked first: the faults below show the URL
		return nil, errors.New("holds a user name or password, which the kubelet does not take")
	}
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("%q is not https://HOST:PORT", s)
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("port %s is not 1 to 65535", p)
		}
	}
	return u, nil
}

func parsePin(s string) ([]byte, error) {
	pin, err := hex.DecodeString(s)
	if err != nil {
		pin, err = base64.StdEncoding.DecodeString(s)
	}
	if err != nil || len(pin) != sha256.Size {
		return nil, fmt.Errorf("%q is no SHA-256", s)
	}
	return pin, nil
}
