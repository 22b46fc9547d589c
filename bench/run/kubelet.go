package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// kubelet replays the captured answers of a real one, for as many pods as are wanted. The times
// in /stats/summary are those of the request, as if all were measured for it: each poll is new.
type kubelet struct {
	endpoint  string
	caFile    string
	server    *http.Server
	served    sync.WaitGroup
	pods      []byte
	summary   []byte
	times     []int // where the seconds of a time stand in summary
	summaries atomic.Int64
}

// timeLayout is as long as the times of the captured summary.
const timeLayout = "2006-01-02T15:04:05Z"

// newKubelet serves until close. captures is the directory of the captured answers.
func newKubelet(dir, captures string) (*kubelet, error) {
	k := &kubelet{caFile: filepath.Join(dir, "kubelet.crt")}
	var err error
	if k.summary, err = manyStats(filepath.Join(captures, "stats_summary.busy.json.gz")); err != nil {
		return nil, err
	}
	if k.pods, err = manyPods(filepath.Join(captures, "pods.json.gz")); err != nil {
		return nil, err
	}
	mark := []byte(`"time": "`)
	for i := 0; ; {
		n := bytes.Index(k.summary[i:], mark)
		if n < 0 {
			break
		}
		i += n + len(mark)
		k.times = append(k.times, i)
	}
	cert, err := k.certificate()
	if err != nil {
		return nil, err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return nil, err
	}
	k.endpoint = "https://" + listener.Addr().String()
	k.server = &http.Server{Handler: http.HandlerFunc(k.answer)}
	k.served.Go(func() { k.server.Serve(listener) })
	return k, nil
}

func (k *kubelet) close() {
	k.server.Shutdown(context.Background())
	k.served.Wait()
}

func (k *kubelet) answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/pods":
		w.Write(k.pods)
	case "/stats/summary":
		body := bytes.Clone(k.summary) // two requests may be under way
		now := time.Now().UTC().Format(timeLayout)
		for _, i := range k.times {
			copy(body[i:], now)
		}
		k.summaries.Add(1)
		w.Write(body)
	default:
		http.NotFound(w, r)
	}
}

// certificate makes a self-signed one and writes it where the agent finds it as an authority.
func (k *kubelet) certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, os.WriteFile(k.caFile, text, 0o600)
}

// readCapture decodes a compressed JSON file.
func readCapture(path string, into any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// statsOfPod is a pod of a summary in the kubelet's order of keys.
type statsOfPod struct {
	PodRef     json.RawMessage   `json:"podRef"`
	StartTime  json.RawMessage   `json:"startTime"`
	Containers []json.RawMessage `json:"containers"`
	CPU        json.RawMessage   `json:"cpu"`
	Memory     json.RawMessage   `json:"memory"`
	IO         json.RawMessage   `json:"io"`
	Network    json.RawMessage   `json:"network"`
	Volume     []json.RawMessage `json:"volume"`
	Ephemeral  json.RawMessage   `json:"ephemeral-storage"`
	Processes  json.RawMessage   `json:"process_stats"`
	Swap       json.RawMessage   `json:"swap"`
}

// manyStats makes a summary of podCount pods out of the first one of a captured summary.
func manyStats(path string) ([]byte, error) {
	var all struct {
		Node json.RawMessage `json:"node"`
		Pods []statsOfPod    `json:"pods"`
	}
	if err := readCapture(path, &all); err != nil {
		return nil, err
	}
	if len(all.Pods) == 0 || len(all.Pods[0].Containers) == 0 {
		return nil, fmt.Errorf("%s: it has no pod with a container", path)
	}
	model := all.Pods[0]
	_, rest, _ := bytes.Cut(model.Containers[0], []byte(",")) // the name comes first
	const volume = `{"time":"2026-11-22T15:47:08Z","availableBytes":67096576,"capacityBytes":67108864,"usedBytes":12288,"inodesFree":3085502,"inodes":3085511,"inodesUsed":9,"name":"data-%d","pvcRef":{"name":"data-%[1]d","namespace":"shop"}}`
	model.Containers, model.Volume = nil, nil
	for c := range containersOfPod {
		model.Containers = append(model.Containers, fmt.Appendf(nil, `{"name":"c%d",%s`, c, rest))
	}
	for v := range volumesOfPod {
		model.Volume = append(model.Volume, fmt.Appendf(nil, volume, v))
	}
	all.Pods = nil
	for i := range podCount {
		model.PodRef = fmt.Appendf(nil, `{"name":"pod-%d","namespace":"shop","uid":"%s"}`, i, podUID(i))
		all.Pods = append(all.Pods, model)
	}
	return json.MarshalIndent(all, "", " ") // as the kubelet does
}

// manyPods makes a list of the same pods out of the first one of a captured list.
func manyPods(path string) ([]byte, error) {
	var all map[string]any
	if err := readCapture(path, &all); err != nil {
		return nil, err
	}
	list, ok := all["items"].([]any)
	if !ok || len(list) == 0 {
		return nil, fmt.Errorf("%s: it has no pods", path)
	}
	model, err := json.Marshal(list[0])
	if err != nil {
		return nil, err
	}
	list = list[:0]
	for i := range podCount {
		var pod struct {
			Metadata map[string]any `json:"metadata"`
			Spec     map[string]any `json:"spec"`
			Status   map[string]any `json:"status"`
		}
		if err := json.Unmarshal(model, &pod); err != nil {
			return nil, err
		}
		pod.Metadata["name"], pod.Metadata["namespace"], pod.Metadata["uid"] = fmt.Sprintf("pod-%d", i), "shop", podUID(i)
		specs, _ := pod.Spec["containers"].([]any)
		states, _ := pod.Status["containerStatuses"].([]any)
		if len(specs) == 0 || len(states) == 0 {
			return nil, fmt.Errorf("%s: its first pod has no container", path)
		}
		var spec, state []any
		for c := range containersOfPod {
			name := fmt.Sprintf("c%d", c)
			spec = append(spec, changed(specs[0], "name", name))
			state = append(state, changed(changed(states[0], "name", name), "containerID", "containerd://"+containerID(i, c)))
		}
		pod.Spec["containers"], pod.Status["containerStatuses"] = spec, state
		list = append(list, pod)
	}
	all["items"] = list
	return json.Marshal(all)
}

// changed is a copy of an object with another value for a key.
func changed(object any, key string, value any) map[string]any {
	c := map[string]any{}
	o, _ := object.(map[string]any)
	for k, v := range o {
		c[k] = v
	}
	c[key] = value
	return c
}
