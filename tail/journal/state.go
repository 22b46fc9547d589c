package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// position is a place in the journal: after the entry with this cursor. Without a cursor it is a
// time (where the very first start was told to begin), and without a time the beginning.
type position struct {
	cursor string
	time   uint64 // of the entry, µs since 1970: where to go on if the cursor's entry is gone
	filter string // Config.filter under which the entry was read
}

// store keeps the position in a small text file that is checksummed, written anew and renamed:
//
//	stint journal 1
//	<cursor, quoted>
//	<µs>
//	<filter, quoted>
//	<CRC-32C of the lines before, 8 hex digits>
//
// Most saves are not synced: a kill needs none. One a second is, and it is that one which stays
// as cursor.old, so that a power cut repeats a second at most and loses nothing.
type store struct {
	path     string
	fresh    bool // there was nothing: the very first start
	synced   time.Time
	unsynced bool // the last save was not
}

const stateMagic = "stint journal 1\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openStore reads the position in dir. What can't be read is reported in the error, and the
// position is the best that is known.
func openStore(dir string) (*store, position, error) {
	s := &store{path: filepath.Join(dir, "cursor")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.fresh = true
		return s, position{}, fmt.Errorf("make state directory: %w", err)
	}
	pos, err := loadPosition(s.path)
	if err == nil {
		return s, pos, nil
	}
	old, errOld := loadPosition(s.path + ".old")
	if errors.Is(err, fs.ErrNotExist) && errors.Is(errOld, fs.ErrNotExist) {
		s.fresh = true
		return s, position{}, nil
	}
	if errOld != nil {
		s.fresh = true
	}
	return s, old, err
}

func loadPosition(path string) (pos position, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return pos, err
	}
	text, sum, ok := cutLast(string(b))
	if !ok || !strings.HasPrefix(text, stateMagic) || sum != checksum(text) {
		return pos, fmt.Errorf("%s is torn or not a cursor file", path)
	}
	lines := strings.Split(text[len(stateMagic):], "\n")
	if len(lines) != 4 {
		return pos, fmt.Errorf("%s has %d lines", path, len(lines))
	}
	if pos.cursor, err = strconv.Unquote(lines[0]); err != nil {
		return position{}, fmt.Errorf("%s: cursor: %w", path, err)
	}
	if pos.time, err = strconv.ParseUint(lines[1], 10, 63); err != nil {
		return position{}, fmt.Errorf("%s: time: %w", path, err)
	}
	if pos.filter, err = strconv.Unquote(lines[2]); err != nil {
		return position{}, fmt.Errorf("%s: filter: %w", path, err)
	}
	return pos, nil
}

// cutLast splits off the last line.
func cutLast(s string) (before, last string, ok bool) {
	s, ok = strings.CutSuffix(s, "\n")
	i := strings.LastIndexByte(s, '\n')
	return s[:i+1], s[i+1:], ok
}

func checksum(text string) string {
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(text), castagnoli))
}

// save writes pos. With sync it waits for the disk, and what it wrote stays as the old one too.
func (s *store) save(pos position, sync bool) (err error) {
	text := fmt.Sprintf("%s%q\n%d\n%q\n", stateMagic, pos.cursor, pos.time, pos.filter)
	tmp := s.path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("save cursor: %w", err)
	}
	_, err = f.WriteString(text + checksum(text) + "\n")
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("save cursor: %w", err)
	}
	if sync {
		_ = os.Remove(s.path + ".old")
		_ = os.Link(tmp, s.path+".old") // without links no old one is kept
	}
	if err := os.Rename(tmp, s.path); err != nil {
		return fmt.Errorf("save cursor: %w", err)
	}
	if s.unsynced = !sync; s.unsynced {
		return nil
	}
	s.synced = time.Now()
	if d, err := os.Open(filepath.Dir(s.path)); err == nil { // makes the rename durable
		_ = d.Sync()
		d.Close()
	}
	return nil
}
