// Command hand runs in the virtual machine of make test-node, as root: it runs the shell commands that are posted to
// it, and answers with what they print. It listens on the network between test and machine, which leads nowhere else.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: hand ADDRESS")
	}
	http.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		cmd := exec.CommandContext(r.Context(), "/bin/sh", "-eu", "-s")
		cmd.Stdin = r.Body
		out, err := cmd.CombinedOutput()
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintf(w, "%v: ", err)
		}
		w.Write(out)
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
