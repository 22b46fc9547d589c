package spool

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	cursorName = "cursor"
	// A cursor stands in the file twice, in sectors of their own that are written in turn: a power failure
	// spoils one at most. Of the two that is right which is further.
	slotLen = 24
	slotGap = 4096
	// cursorSync is how often it is synced; a kill loses nothing of what is written.
	cursorSync = time.Second
)

// position is up to where a spool is acknowledged.
type position struct {
	segment uint64
	offset  int64 // of the entry that is the oldest
	done    int   // of its records, from its front
}

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.segment, q.segment), cmp.Compare(p.offset, q.offset), cmp.Compare(p.done, q.done))
}

// cursor keeps a position in a file: segment and offset uint64, done uint32, CRC-32C of them,
// little endian, in each slot.
type cursor struct {
	dir    string
	file   *os.File // nil until something is saved
	slot   int64    // written next
	synced time.Time
	dirty  bool // it was written since
}

// load reads what was saved before this process; ok is false if nothing can be relied on.
func (c *cursor) load() (best position, ok bool) {
	b, err := os.ReadFile(filepath.Join(c.dir, cursorName))
	if err != nil {
		return best, false
	}
	for slot := range int64(2) {
		at := min(slot*slotGap, int64(len(b)))
		p, valid := parsePosition(b[at:])
		if valid && (!ok || p.compare(best) > 0) {
			best, ok = p, true
			c.slot = 1 - slot
		}
	}
	return best, ok
}

func parsePosition(b []byte) (p position, ok bool) {
	if len(b) < slotLen || crc32.Checksum(b[:slotLen-4], castagnoli) != binary.LittleEndian.Uint32(b[slotLen-4:]) {
		return p, false
	}
	p.segment = binary.LittleEndian.Uint64(b)
	p.offset = int64(binary.LittleEndian.Uint64(b[8:]))
	p.done = int(binary.LittleEndian.Uint32(b[16:]))
	return p, true
}

func (p position) append(dst []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, p.segment)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p.offset))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(p.done))
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// save writes p, which is further than what was saved before.
func (c *cursor) save(p position) error {
	if c.file == nil {
		f, err := os.OpenFile(filepath.Join(c.dir, cursorName), os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		c.file = f
	}
	var b [slotLen]byte
	if _, err := c.file.WriteAt(p.append(b[:0]), c.slot*slotGap); err != nil {
		return err
	}
	c.slot, c.dirty = 1-c.slot, true
	return c.syncNowAndThen()
}

func (c *cursor) syncNowAndThen() error {
	if !c.dirty || time.Since(c.synced) < cursorSync {
		return nil
	}
	return c.sync()
}

func (c *cursor) sync() error {
	c.synced, c.dirty = time.Now(), false
	return datasync(c.file)
}

// remove ends the cursor of a spool in which nothing waits, and makes it last that nothing does.
func (c *cursor) remove() {
	if c.file != nil {
		c.file.Close()
	}
	*c = cursor{dir: c.dir}
	if err := os.Remove(filepath.Join(c.dir, cursorName)); !errors.Is(err, fs.ErrNotExist) {
		syncDir(c.dir) // at worst a power failure brings back what was delivered
	}
}

// close syncs what was saved.
func (c *cursor) close() error {
	if c.file == nil {
		return nil
	}
	var err error
	if c.dirty {
		err = c.sync()
	}
	if err = errors.Join(err, c.file.Close()); err != nil {
		err = fmt.Errorf("close the cursor of the spool: %w", err)
	}
	c.file = nil
	return err
}
