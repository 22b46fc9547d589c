package export

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
)

// Credentials are how an exporter says who it is, and what else goes into the headers of its
// requests. Files are read again while the agent runs.
type Credentials struct {
	User            string            `yaml:"user" doc:"user name of HTTP basic authentication; together with password or password_file"`
	Password        Secret            `yaml:"password" doc:"password of user"`
	PasswordFile    string            `yaml:"password_file" doc:"file that holds the password; read again when it changes"`
	BearerToken     Secret            `yaml:"bearer_token" doc:"sent as Authorization: Bearer"`
	BearerTokenFile string            `yaml:"bearer_token_file" doc:"file that holds the token; read again when it changes"`
	Headers         map[string]Secret `yaml:"headers" doc:"headers sent with each request, over gRPC as metadata; values are never shown"`
	HeadersFile     map[string]string `yaml:"headers_file" doc:"headers whose values are in files, as NAME: /path; read again when they change"`
}

func (c Credentials) check(path string) []error {
	var errs []error
	fault := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s.%s: %w", path, key, fmt.Errorf(format, args...)))
	}
	basic, bearer := c.User != "" || c.Password != "" || c.PasswordFile != "", c.BearerToken != "" || c.BearerTokenFile != ""
	switch {
	case c.Password != "" && c.PasswordFile != "":
		fault("password", "password_file is set, too; remove one of the two")
	case c.User == "" && basic:
		fault("user", "missing, but there is a password; give both or none")
	case basic && c.Password == "" && c.PasswordFile == "":
		fault("user", "there is no password; give password or password_file")
	case strings.Contains(c.User, ":"):
		fault("user", "holds a colon, which ends the name in HTTP basic authentication; use another")
	}
	if c.BearerToken != "" && c.BearerTokenFile != "" {
		fault("bearer_token", "bearer_token_file is set, too; remove one of the two")
	}
	if basic && bearer {
		fault("user", "there is a bearer token, too; a request has one of the two")
	}
	for _, v := range []struct{ key, text string }{
		{"user", c.User}, {"password", c.Password.Reveal()}, {"bearer_token", c.BearerToken.Reveal()},
	} {
		if !printable(v.text) {
			fault(v.key, "holds a line break or control character; remove it")
		}
	}
	seen := map[string]string{}
	for _, h := range []struct {
		key   string
		names []string
	}{{"headers", slices.Sorted(maps.Keys(c.Headers))}, {"headers_file", slices.Sorted(maps.Keys(c.HeadersFile))}} {
		for _, name := range h.names {
			at, lower := join(h.key, name), strings.ToLower(name)
			switch {
			case name == "" || strings.Trim(name, headerToken) != "":
				fault(at, "%q is not a header name; use letters, digits and -", name)
			case seen[lower] != "":
				fault(at, "is the header of %s.%s, too; remove one of the two", path, seen[lower])
			case lower == "authorization" && (basic || bearer):
				fault(at, "user or bearer_token make this header; remove one of the two")
			}
			seen[lower] = at
			if !printable(c.Headers[name].Reveal()) {
				fault(at, "the value holds a line break or control character; remove it")
			}
			if h.key == "headers_file" && c.HeadersFile[name] == "" {
				fault(at, "empty; give the path of a file")
			}
		}
	}
	return errs
}

const headerToken = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" // RFC 9110, 5.6.2

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// Files are the files that credentials are in, by the key that names them.
func (c Credentials) Files() map[string]string {
	files := map[string]string{}
	if c.PasswordFile != "" {
		files["password_file"] = c.PasswordFile
	}
	if c.BearerTokenFile != "" {
		files["bearer_token_file"] = c.BearerTokenFile
	}
	for name, path := range c.HeadersFile {
		files[join("headers_file", name)] = path
	}
	return files
}

// ReadCredential reads a file with a credential, without the newline at its end. No error holds
// anything of its content.
func ReadCredential(path string) (Secret, error) {
	if info, err := os.Stat(path); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() { // a pipe would block
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCredential+1))
	text := strings.TrimRight(string(b), "\r\n")
	switch {
	case err != nil:
		return "", err
	case len(b) > maxCredential:
		return "", fmt.Errorf("%s is over %d bytes", path, maxCredential)
	case text == "":
		return "", fmt.Errorf("%s is empty", path)
	case !printable(text):
		return "", fmt.Errorf("%s holds a line break or control character in its midst", path)
	}
	return Secret(text), nil
}

const (
	maxCredential = 64 << 10
	// credentialsRead is how often files with credentials are read at most, unless these were
	// refused.
	credentialsRead = time.Second
)

// login gives the credentials as they are now.
type login struct {
	Credentials
	about
	more []Secret // to be hidden as well

	mu   sync.Mutex // guards everything below
	next time.Time  // files are not read before
	good map[string]Secret
	bad  bool // a file can't be used; it was said
	now  *presented
}

// presented is what requests carry. It is not changed.
type presented struct {
	headers  []header
	metadata metadata.MD
	hide     *strings.Replacer
}

type header struct{ name, value string }

// newLogin reads the files once. more is what answers must not show either.
func newLogin(c Credentials, a about, more ...Secret) (*login, error) {
	l := &login{Credentials: c, about: a, more: more, good: map[string]Secret{}}
	if err := l.read(); err != nil {
		return nil, err
	}
	l.next = time.Now().Add(credentialsRead)
	return l, nil
}

// get gives what the next request carries.
func (l *login) get() *presented {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); !now.Before(l.next) {
		l.next = now.Add(credentialsRead)
		if err := l.read(); err == nil {
			l.bad = false
		} else if !l.bad {
			l.bad = true
			l.log.Error("a file with credentials can't be used; the last good ones are", "exporter", l.exporter, "err", err)
		}
	}
	return l.now
}

// refused says that the credentials were: those of the next request are read anew.
func (l *login) refused() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = time.Time{}
}

// read reads the files. One that can't be used stays as it was.
func (l *login) read() error {
	var errs []error
	changed := l.now == nil
	files := l.Files()
	for _, key := range slices.Sorted(maps.Keys(files)) {
		text, err := ReadCredential(files[key])
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		case l.good[key] != text:
			l.good[key], changed = text, true
		}
	}
	if changed {
		l.now = l.present()
	}
	return errors.Join(errs...)
}

func (l *login) present() *presented {
	p := &presented{metadata: metadata.MD{}}
	var secrets []string // for hide
	secret := func(text string, least int) {
		if len(text) >= least { // less would mask ordinary words
			secrets = append(secrets, text)
		}
	}
	add := func(name string, value Secret) {
		p.headers = append(p.headers, header{http.CanonicalHeaderKey(name), value.Reveal()})
		p.metadata.Append(strings.ToLower(name), value.Reveal())
		words := strings.Fields(value.Reveal()) // "Bearer TOKEN"
		secret(value.Reveal(), 8)
		if len(words) > 1 {
			secret(words[len(words)-1], 8)
		}
	}
	for name, value := range l.Headers {
		add(name, value)
	}
	for name := range l.HeadersFile {
		add(name, l.good[join("headers_file", name)])
	}
	if l.User != "" {
		password := l.Password
		if l.PasswordFile != "" {
			password = l.good["password_file"]
		}
		both := base64.StdEncoding.EncodeToString([]byte(l.User + ":" + password.Reveal()))
		add("Authorization", Secret("Basic "+both))
		secret(password.Reveal(), 4)
	}
	token := l.BearerToken
	if l.BearerTokenFile != "" {
		token = l.good["bearer_token_file"]
	}
	if token != "" {
		add("Authorization", "Bearer "+token)
		secret(token.Reveal(), 4)
	}
	for _, s := range l.more {
		secret(s.Reveal(), 4)
	}
	// The longest first: one may be the beginning of another.
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, s := range secrets {
		pairs = append(pairs, s, mask)
	}
	p.hide = strings.NewReplacer(pairs...)
	return p
}

// apply puts the credentials into a request's header.
func (p *presented) apply(h http.Header) {
	for _, x := range p.headers {
		h.Set(x.name, x.value)
	}
}

// clean is err as it can be logged: without secrets, which some servers repeat when they refuse
// them, and no longer than a line.
func (p *presented) clean(err error) error {
	if err == nil {
		return nil
	}
	s := p.hide.Replace(err.Error())
	return errors.New(strings.ToValidUTF8(s[:min(len(s), 500)], ""))
}
