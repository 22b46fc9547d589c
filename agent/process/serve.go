package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// listen opens a port for a server; nil where none is wanted.
func listen(at string) (net.Listener, error) {
	if at == "" {
		return nil, nil
	}
	return net.Listen("tcp", at)
}

// Address is where a server is found, for the log.
func Address(l net.Listener) string {
	if l == nil {
		return "off"
	}
	return "http://" + l.Addr().String() + "/"
}

// Probe answers GET path with 200 and ok, or with 503 and a line for each fault.
func Probe(mux *http.ServeMux, path string, faults func() []string) {
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if f := faults(); len(f) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, strings.Join(f, "\n"))
			return
		}
		fmt.Fprintln(w, "ok")
	})
}

// serve serves until ctx ends and the requests under way are answered.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if s.Shutdown(limit) != nil {
			s.Close()
		}
	})
	err := s.Serve(l)
	if !stop() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", l.Addr(), err)
}
