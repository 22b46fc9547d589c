package node

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"stint/bench/machine"
)

// The test's side of the network and the machine's: of TEST-NET-2, which is nobody's.
const (
	tap      = "stint-node"
	hostIP   = "198.51.100.1"
	nodeIP   = "198.51.100.2"
	nodeName = "stint-node"
	handPort = "9000"
	kubectl  = "../apiserver/kubectl"
	pods     = "10.244.0.0/24"
)

// cluster is a control plane of processes of this machine, and one node, a virtual machine.
type cluster struct {
	dir    string
	ca     *authority
	config string // kubeconfig of an administrator

	programs map[string]chan struct{} // of this machine; closed when one has ended
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// sign makes a certificate for a client and, with names, for a server.
func (a *authority) sign(t *testing.T, name, group string, names ...string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if group != "" {
		template.Subject.Organization = []string{group}
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})
}

func (c *cluster) file(name string) string { return filepath.Join(c.dir, name) }

func (c *cluster) write(t *testing.T, name string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(c.file(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.file(name), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return c.file(name)
}

// kubeconfig is a file that has all in it: it serves on the machine, too.
func (c *cluster) kubeconfig(t *testing.T, file, user, group string) string {
	t.Helper()
	cert, key := c.ca.sign(t, user, group)
	return c.write(t, file, fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: "https://%s:6443", certificate-authority-data: %q}}]
users: [{name: user, user: {client-certificate-data: %q, client-key-data: %q}}]
contexts: [{name: node, context: {cluster: node, user: user}}]
current-context: node
`, hostIP, base64.StdEncoding.EncodeToString(c.ca.pem), base64.StdEncoding.EncodeToString(cert), base64.StdEncoding.EncodeToString(key)))
}

// startCluster starts everything, and returns when the node is ready.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{dir: t.TempDir(), ca: newAuthority(t, "node"), programs: map[string]chan struct{}{}}
	c.network(t)
	c.controlPlane(t)
	c.node(t)
	return c
}

// network is between this machine and the virtual one, and nowhere else.
func (c *cluster) network(t *testing.T) {
	t.Helper()
	for _, args := range []string{"tuntap add dev " + tap + " mode tap", "address add " + hostIP + "/24 dev " + tap, "link set " + tap + " up", "route add " + pods + " via " + nodeIP} {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
		if strings.HasPrefix(args, "tuntap") {
			t.Cleanup(func() { exec.Command("ip", "link", "delete", tap).Run() }) // address and route go with it
		}
	}
}

func (c *cluster) controlPlane(t *testing.T) {
	t.Helper()
	c.write(t, "ca.crt", c.ca.pem)
	pair := func(file, name, group string, names ...string) (string, string) {
		cert, key := c.ca.sign(t, name, group, names...)
		return c.write(t, file+".crt", cert), c.write(t, file+".key", key)
	}
	serving, servingKey := pair("apiserver", "kube-apiserver", "", hostIP, "10.96.0.1", "kubernetes.default.svc")
	client, clientKey := pair("apiserver-kubelet", "kube-apiserver", "system:masters")
	_, accounts := pair("accounts", "accounts", "")
	etcd, peer := "http://127.0.0.1:"+freePort(t), "http://127.0.0.1:"+freePort(t)
	c.start(t, "../etcd/etcd", "--data-dir="+c.file("etcd"), "--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer, "--unsafe-no-fsync", "--log-level=warn")
	c.start(t, "../apiserver/kube-apiserver", "--etcd-servers="+etcd, "--bind-address="+hostIP, "--advertise-address="+hostIP, "--secure-port=6443",
		"--tls-cert-file="+serving, "--tls-private-key-file="+servingKey, "--client-ca-file="+c.file("ca.crt"),
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-certificate-authority="+c.file("ca.crt"), "--kubelet-client-certificate="+client, "--kubelet-client-key="+clientKey,
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+accounts, "--service-account-signing-key-file="+accounts,
		"--service-cluster-ip-range=10.96.0.0/24", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction")
	c.config = c.kubeconfig(t, "admin.kubeconfig", "admin", "system:masters")
	c.eventually(t, "the API server", func() error {
		_, err := c.kubectl("", "get", "--raw", "/readyz")
		return err
	})
	manager := c.kubeconfig(t, "manager.kubeconfig", "system:kube-controller-manager", "")
	c.start(t, "../apiserver/kube-controller-manager", "--kubeconfig="+manager, "--authentication-kubeconfig="+manager, "--authorization-kubeconfig="+manager, "--secure-port="+freePort(t), "--bind-address=127.0.0.1",
		"--leader-elect=false", "--root-ca-file="+c.file("ca.crt"), "--service-account-private-key-file="+accounts, "--use-service-account-credentials")
	scheduler := c.kubeconfig(t, "scheduler.kubeconfig", "system:kube-scheduler", "")
	c.start(t, "../apiserver/kube-scheduler", "--kubeconfig="+scheduler, "--authentication-kubeconfig="+scheduler, "--authorization-kubeconfig="+scheduler, "--secure-port="+freePort(t), "--bind-address=127.0.0.1", "--leader-elect=false")
	c.dns(t)
}

// dns is CoreDNS on this machine, behind the Service that pods know.
func (c *cluster) dns(t *testing.T) {
	t.Helper()
	port := freePort(t)
	corefile := c.write(t, "Corefile", fmt.Appendf(nil, ".:%s {\n bind %s\n errors\n kubernetes cluster.local {\n  kubeconfig %s\n }\n}\n", port, hostIP, c.config))
	c.start(t, "../coredns/coredns", "-conf", corefile)
	c.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: 10.96.0.10, ports: [{name: dns, protocol: UDP, port: 53}, {name: dns-tcp, protocol: TCP, port: 53}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
endpoints: [{addresses: [%s]}]
ports: [{name: dns, protocol: UDP, port: %s}, {name: dns-tcp, protocol: TCP, port: %s}]
`, hostIP, port, port))
}

// node starts the machine, and on it containerd, the kubelet and kube-proxy.
func (c *cluster) node(t *testing.T) {
	t.Helper()
	files := c.file("files")
	c.write(t, "files/start", []byte("#!/bin/sh\nset -eu\nuntil ip link set eth0 up; do sleep 0.1; done # its driver is loaded meanwhile\nip address add "+nodeIP+"/24 dev eth0\nexec /opt/stint/hand "+nodeIP+":"+handPort+"\n"))
	if err := os.Chmod(c.file("files/start"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{
		"hand": "../bin/node/hand", "kubelet": "../apiserver/kubelet", "kube-proxy": "../apiserver/kube-proxy",
		"stint-agent.oci.tar": "../bin/node/stint-agent-" + version + ".oci.tar", "stint-cluster.oci.tar": "../bin/node/stint-cluster-" + version + ".oci.tar",
		"workload.oci.tar": "../bin/node/workload.oci.tar",
	} {
		copyFile(t, from, c.file("files/"+name))
	}
	cert, key := c.ca.sign(t, nodeName, "", nodeIP, nodeName)
	c.write(t, "files/etc/kubernetes/kubelet.crt", cert)
	c.write(t, "files/etc/kubernetes/kubelet.key", key)
	c.write(t, "files/etc/kubernetes/ca.crt", c.ca.pem)
	c.kubeconfig(t, "files/etc/kubernetes/kubelet.kubeconfig", "system:node:"+nodeName, "system:nodes")
	c.kubeconfig(t, "files/etc/kubernetes/proxy.kubeconfig", "system:kube-proxy", "")
	c.write(t, "files/etc/kubernetes/kubelet.yaml", []byte(kubeletConfig))
	c.write(t, "files/etc/kubernetes/proxy.yaml", []byte(proxyConfig))
	c.write(t, "files/etc/containerd/config.toml", []byte(containerdConfig))
	c.write(t, "files/etc/cni/net.d/10-bridge.conflist", []byte(networkConfig))

	console := c.file("console")
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := machine.Machine{
		Image: "../bin/node", Files: files, MiB: 3072,
		Args: []string{"-netdev", "tap,id=net,ifname=" + tap + ",script=no,downscript=no", "-device", "virtio-net-pci,netdev=net"},
	}.Command(ctx, t, console)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			if text, err := c.hand("journalctl -q --no-pager -u kubelet -u kube-proxy -u containerd -n 60"); err == nil {
				t.Logf("node:\n%s", text)
			}
			text, _ := os.ReadFile(console)
			t.Logf("console:\n%s", text[max(len(text)-3000, 0):])
		}
		cancel()
		cmd.Wait()
		if out.Len() > 0 {
			t.Logf("qemu: %s", &out)
		}
	})
	c.eventually(t, "the machine", func() error { _, err := c.hand("true"); return err })
	c.mustHand(t, `
cp -r /opt/stint/etc/. /etc/
chmod -R go= /etc/kubernetes
touch /etc/resolv.conf
modprobe overlay
modprobe br_netfilter
echo 1 >/proc/sys/net/ipv4/ip_forward
ip route add default via `+hostIP+`
systemctl restart containerd
for image in stint-agent stint-cluster workload; do ctr --namespace k8s.io images import /opt/stint/$image.oci.tar; done
ctr --namespace k8s.io images ls -q
systemd-run -q --unit=kubelet -p Restart=always -p Delegate=yes /opt/stint/kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.kubeconfig --hostname-override=`+nodeName+` --node-ip=`+nodeIP+`
systemd-run -q --unit=kube-proxy -p Restart=always /opt/stint/kube-proxy --config=/etc/kubernetes/proxy.yaml
`)
	c.eventually(t, "the node", func() error {
		out, err := c.kubectl("", "get", "node", nodeName, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
		if err == nil && out != "True" {
			err = fmt.Errorf("Ready is %q", out)
		}
		return err
	})
}

const (
	// Logs are rotated every few seconds under the test's load, and none goes before an agent that is replaced is back.
	kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: /etc/kubernetes/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: /etc/kubernetes/kubelet.crt
tlsPrivateKeyFile: /etc/kubernetes/kubelet.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: systemd
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerLogMaxSize: 100Ki
containerLogMaxFiles: 30
containerLogMonitorInterval: 3s
syncFrequency: 10s
`
	proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: 10.244.0.0/16
hostnameOverride: stint-node
clientConnection: {kubeconfig: /etc/kubernetes/proxy.kubeconfig}
`
	containerdConfig = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/library/workload:1"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = true
`
	networkConfig = `{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
  "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "` + pods + `"}]], "routes": [{"dst": "0.0.0.0/0"}]}
}]}
`
)

// start starts a program of this machine, until the test is over.
func (c *cluster) start(t *testing.T, path string, args ...string) {
	t.Helper()
	logFile, err := os.Create(c.file(filepath.Base(path) + ".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: make test-node builds it", err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); cmd.Wait() }()
	c.programs[path] = ended
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if text, _ := os.ReadFile(logFile.Name()); t.Failed() {
			t.Logf("%s:\n%s", path, text[max(len(text)-1500, 0):])
		}
		logFile.Close()
	})
}

// hand runs shell commands on the node.
func (c *cluster) hand(script string) (string, error) {
	client := http.Client{Timeout: 5 * time.Minute}
	resp, err := client.Post("http://"+net.JoinHostPort(nodeIP, handPort)+"/", "text/plain", strings.NewReader(script))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", out)
	}
	return string(out), err
}

func (c *cluster) mustHand(t *testing.T, script string) string {
	t.Helper()
	out, err := c.hand(script)
	if err != nil {
		t.Fatalf("on the node: %s: %v", script, err)
	}
	return strings.TrimSpace(out)
}

func (c *cluster) run(stdin, path string, args ...string) (string, error) {
	out, _, err := c.output(stdin, path, args...)
	return out, err
}

func (c *cluster) output(stdin, path string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.config)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", "", fmt.Errorf("%s %s: %w: %s%s", filepath.Base(path), strings.Join(args, " "), err, &out, &errs)
	}
	return strings.TrimSpace(out.String()), errs.String(), nil
}

func (c *cluster) kubectl(stdin string, args ...string) (string, error) {
	return c.run(stdin, kubectl, args...)
}

func (c *cluster) mustKubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.kubectl("", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c *cluster) apply(t *testing.T, objects string) {
	t.Helper()
	if _, err := c.kubectl(objects, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// patience is for the slowest step of a machine that is emulated, on a busy one.
const patience = 6 * time.Minute

// eventually tries once a second.
func (c *cluster) eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Second) {
		if err = try(); err == nil {
			return
		}
		for path, ended := range c.programs {
			select {
			case <-ended:
				t.Fatalf("%s: %s has ended: %v", what, path, err)
			default:
			}
		}
	}
	t.Fatalf("%s, after %v: %v", what, patience, err)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatalf("%v: make test-node builds it", err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}
