package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrLocked: the state directory is in use.
var ErrLocked = errors.New("another process uses this state directory; give each its own state_dir")

// Claim is what a program has to itself on the machine: its state directory, and the ports of the servers that tell about it.
type Claim struct {
	state *os.File // nil: it can't be used

	Stateless     error        // why not
	Admin, Health net.Listener // nil without a server
}

// NewClaim takes the directory and opens the ports, for servers that shall be. A directory that another process uses is an
// error, one that can't be used for other reasons is not.
func NewClaim(stateDir, admin, health string) (_ *Claim, err error) {
	c := &Claim{}
	defer func() {
		if err != nil {
			c.Release()
		}
	}()
	if c.state, c.Stateless = lockState(stateDir); errors.Is(c.Stateless, ErrLocked) {
		return nil, c.Stateless
	}
	if c.Admin, err = listen(admin); err != nil {
		return nil, fmt.Errorf("admin.listen: %w", err)
	}
	if c.Health, err = listen(health); err != nil {
		return nil, fmt.Errorf("health.listen: %w", err)
	}
	return c, nil
}

// Serve answers at the ports as long as s does.
func (c *Claim) Serve(s *Stages, admin, health http.Handler) {
	if c.Admin != nil {
		s.Serve(func(ctx context.Context) { s.Fail(serve(ctx, c.Admin, admin)) })
	}
	if c.Health != nil {
		s.Serve(func(ctx context.Context) { s.Fail(serve(ctx, c.Health, health)) })
	}
}

// Release gives all of it back; what servers have closed may be closed again.
func (c *Claim) Release() {
	for _, l := range []net.Listener{c.Admin, c.Health} {
		if l != nil {
			l.Close()
		}
	}
	if c.state != nil {
		c.state.Close()
	}
}

// lockState makes the state directory and locks it for this process. The lock ends with the
// process, however that ends.
func lockState(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("state_dir %s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}
