package export

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is text that must not be shown: a token, a password. However it is printed, logged or
// marshalled it reads ***; only Reveal gives the text itself.
type Secret string

const mask = "***"

// Reveal gives the text itself, for the wire.
func (s Secret) Reveal() string { return string(s) }

// Masked is what printers of configuration show in place of the text, if there is any.
func (s Secret) Masked() string {
	if s == "" {
		return ""
	}
	return mask
}

// Format covers every verb of package fmt: %v, %s, %q, %x, %#v.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, mask) }

func (Secret) String() string               { return mask }
func (Secret) GoString() string             { return mask }
func (Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }
func (Secret) LogValue() slog.Value         { return slog.StringValue(mask) }
