package host

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"stint/scrape/series"
)

// localtime is the machine's time zone, of /etc/localtime, which is looked at once a minute.
type localtime struct {
	path    string
	asked   uint64
	written time.Time // the file, as of zone
	zone    *time.Location
}

const localtimeRefresh = uint64(time.Minute)

func (s *localtime) scrape(p *series.Points, now uint64) (err error) {
	if now-s.asked >= localtimeRefresh || now < s.asked {
		s.asked = now
		err = s.read()
	}
	if s.zone != nil {
		_, offset := time.Unix(0, int64(now)).In(s.zone).Zone()
		p.Signed(clockTimezone, nil, int64(offset))
	}
	return err
}

// read reads the file if it is another one. A machine without it is in UTC.
func (s *localtime) read() error {
	st, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		s.zone, s.written = time.UTC, time.Time{}
		return nil
	}
	if err != nil {
		return err
	}
	if s.zone != nil && st.ModTime().Equal(s.written) {
		return nil
	}
	b, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	zone, err := time.LoadLocationFromTZData("localtime", b)
	if err != nil {
		return &fs.PathError{Op: "read", Path: s.path, Err: err}
	}
	s.zone, s.written = zone, st.ModTime()
	return nil
}
