// Command kubeapi is an API server with many objects, for the scenario cluster of bench/run. It prints its
// address as one line of JSON. GET /bench says whether all pods were read, POST /bench?changes=N how many
// change a second.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"stint/scrape/kube/replay"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address; port 0 = any free one")
	pods := flag.Int("pods", 3000, "pods")
	nodes := flag.Int("nodes", 100, "nodes")
	flag.Parse()
	if err := run(*listen, *pods, *nodes); err != nil {
		fmt.Fprintln(os.Stderr, "kubeapi:", err)
		os.Exit(1)
	}
}

func run(listen string, pods, nodes int) error {
	g := replay.NewGenerator(pods, nodes, 0)
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"url": "http://" + l.Addr().String()}); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", g)
	mux.HandleFunc("GET /bench", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]bool{"handed": g.Handed()})
	})
	mux.HandleFunc("POST /bench", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("changes"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		g.SetChanges(n)
	})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s := &http.Server{Handler: mux}
	done := context.AfterFunc(ctx, func() { s.Close() })
	defer done()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
