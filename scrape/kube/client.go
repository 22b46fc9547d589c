// Package kube reads the Kubernetes API. It and agent/cluster are the only packages of stint that
// import k8s.io.
package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"
)

// Config says which API server is asked, and as whom.
type Config struct {
	Kubeconfig string `yaml:"kubeconfig" doc:"file that names the API server and the credentials for it; empty: $KUBECONFIG, else the service account of the pod"`
}

const (
	// Requests a second, at once: client-go's own 5 and 10 make a start with some thirty kinds
	// crawl. The server's priority and fairness protects it.
	qps   = 50
	burst = 100
)

// Client asks one API server. All its parts share their connections and their rate limit. It has no
// timeout of its own, because watches last: give every other request a context that ends.
type Client struct {
	REST     *rest.Config         // protobuf for built-in kinds, JSON accepted
	HTTP     *http.Client         // of all
	Typed    kubernetes.Interface // built-in kinds, in protobuf
	Dynamic  dynamic.Interface    // kinds that are only known by name, in JSON
	Metadata metadata.Interface   // names, labels and owners of any kind, in protobuf
}

// NewClient connects to nothing yet. version goes into the User-Agent.
func NewClient(cfg Config, version string) (*Client, error) {
	c, err := restConfig(cfg)
	if err != nil {
		return nil, err
	}
	c.UserAgent = "stint-cluster/" + version
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	c.QPS, c.Burst = qps, burst
	c.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(qps, burst)
	if c.Proxy == nil { // nil would mean HTTPS_PROXY; a kubeconfig's proxy-url is meant for this server
		c.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	h, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("credentials for the API server %s: %w", c.Host, err)
	}
	client := &Client{REST: c, HTTP: h}
	if client.Typed, err = kubernetes.NewForConfigAndClient(c, h); err != nil {
		return nil, fmt.Errorf("client of the API server %s: %w", c.Host, err)
	}
	if client.Dynamic, err = dynamic.NewForConfigAndClient(c, h); err != nil {
		return nil, fmt.Errorf("client of the API server %s: %w", c.Host, err)
	}
	if client.Metadata, err = metadata.NewForConfigAndClient(c, h); err != nil {
		return nil, fmt.Errorf("client of the API server %s: %w", c.Host, err)
	}
	return client, nil
}

// restConfig is the address and the credentials. The files of a service account are read again by
// client-go when they change.
func restConfig(cfg Config) (*rest.Config, error) {
	if cfg.Kubeconfig == "" {
		c, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, errors.New("no API server: this is no pod (KUBERNETES_SERVICE_HOST is not set); set kubernetes.kubeconfig or KUBECONFIG to a file")
		}
		if err != nil {
			return nil, fmt.Errorf("service account of the pod: %w; is automountServiceAccountToken off?", err)
		}
		return c, nil
	}
	c, err := clientcmd.BuildConfigFromFlags("", cfg.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubernetes.kubeconfig %s: %w", cfg.Kubeconfig, err)
	}
	return c, nil
}

// LogTo sends the errors that client-go itself logs to log; its warnings come as info like its
// chatter, and are dropped with it. It is one setting of the process.
func LogTo(log *slog.Logger) {
	klog.SetSlogLogger(slog.New(errorsOnly{log.With("part", "client-go").Handler()}))
}

type errorsOnly struct{ slog.Handler }

// Enabled implements slog.Handler.
func (h errorsOnly) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError && h.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (h errorsOnly) WithAttrs(attrs []slog.Attr) slog.Handler {
	return errorsOnly{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h errorsOnly) WithGroup(name string) slog.Handler {
	return errorsOnly{h.Handler.WithGroup(name)}
}
