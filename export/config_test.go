package export

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretIsNeverShown(t *testing.T) {
	s := Secret("hunter2")
	holder := struct {
		S Secret
		P *Secret
		M map[string]Secret
		L []Secret
	}{s, &s, map[string]Secret{"k": s}, []Secret{s}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "holder", holder.M)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "holder", holder)
	text, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	all := log.String() + string(text) + s.String() + s.Masked()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s"} {
		all += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, holder)
	}
	for _, bad := range []string{"hunter", "68756e74", "68756E74"} {
		if strings.Contains(all, bad) {
			t.Errorf("%q is in %s", bad, all)
		}
	}
	if s.Reveal() != "hunter2" {
		t.Errorf("Reveal = %q", s.Reveal())
	}
}

func TestTarget(t *testing.T) {
	for name, tc := range map[string]struct {
		o     OTLP
		addr  string
		plain bool
	}{
		"TLS unless told":            {OTLP{Endpoint: "a:1"}, "a:1", false},
		"plain when told":            {OTLP{Endpoint: "a:1", TLS: TLS{Insecure: true}}, "a:1", true},
		"http decides for plain":     {OTLP{Endpoint: "http://a:1/"}, "a:1", true},
		"https decides against":      {OTLP{Endpoint: "https://[::1]:1", TLS: TLS{Insecure: true}}, "[::1]:1", false},
		"nothing is nothing, by TLS": {OTLP{}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if addr, plain := tc.o.Target(); addr != tc.addr || plain != tc.plain {
				t.Errorf("Target() = %q, %v, want %q, %v", addr, plain, tc.addr, tc.plain)
			}
		})
	}
}

func TestURL(t *testing.T) {
	both := &OTLPHTTP{Endpoint: "http://c:4318/x/", LogsEndpoint: "http://l/push"}
	one := &OTLPHTTP{MetricsEndpoint: "http://m"}
	for _, tc := range []struct {
		o            *OTLPHTTP
		signal, want string
	}{
		{both, "logs", "http://l/push"}, {both, "metrics", "http://c:4318/x/v1/metrics"}, {one, "metrics", "http://m"}, {one, "logs", ""},
	} {
		if got := tc.o.URL(tc.signal); got != tc.want || tc.o.Takes(tc.signal) != (tc.want != "") {
			t.Errorf("URL(%s) of %+v = %q, takes %v, want %q", tc.signal, tc.o, got, tc.o.Takes(tc.signal), tc.want)
		}
	}
}

// What stands before a host is a login, what stands behind it is none. Of what is no URL everything may be.
func TestHoldsLogin(t *testing.T) {
	for text, want := range map[string]bool{
		"http://u:p@a:1": true, "https://u@a": true, "u:p@a:4318": true, "http://u:p%%@a": true, "http://u:p/x@a": true, "@": true,
		"http://a:1": false, "http://a:1/x?_time_field=@timestamp": false, "http://a/@x": false, "http://a#@": false, "a:1": false, "": false,
	} {
		if got := holdsLogin(text); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}
