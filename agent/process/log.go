package process

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// Logger writes text on a terminal and JSON elsewhere, unless told otherwise.
func Logger(c Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		panic("bug: log level " + c.Level) // the configuration has been checked
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "text" || c.Format == "auto" && Terminal(w) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

// Terminal says whether somebody watches w; its end is to be the program's.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
