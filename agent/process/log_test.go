package process

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestLogger(t *testing.T) {
	var b bytes.Buffer
	Logger(Log{Level: "warn", Format: "auto"}, &b).Warn("w")
	Logger(Log{Level: "warn", Format: "text"}, &b).Warn("w")
	log := Logger(Log{Level: "debug", Format: "json"}, &b)
	log.Debug("d")
	got := strings.Split(b.String(), "\n")
	if !strings.HasPrefix(got[0], "{") || !strings.HasPrefix(got[1], "time=") || !strings.Contains(got[2], `"msg":"d"`) {
		t.Errorf("%q", got)
	}
	if Logger(Log{Level: "error"}, &b).Enabled(t.Context(), slog.LevelWarn) {
		t.Error("level error logs warnings")
	}
}
