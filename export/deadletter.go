package export

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"stint/export/otlp"
)

// DeadLetter says whether records that a destination refuses for good are kept in a file.
type DeadLetter struct {
	Enabled bool `yaml:"enabled" doc:"keep records that a destination refuses for good, below state_dir: a file an exporter, a line of OTLP JSON a refusal, with the answer under deadLetter"`
	Rotation
}

// DeadLetterDefaults: at most 64 MiB an exporter.
func DeadLetterDefaults() DeadLetter {
	return DeadLetter{Rotation: Rotation{MaxMegabytes: 16, MaxDays: 30, MaxBackups: 3}}
}

// Check reports every fault at once, each under its YAML path.
func (d DeadLetter) Check() error { return errors.Join(d.Rotation.check("dead_letter")...) }

// maxDeadAnswer is how much of an answer is kept beside the records.
const maxDeadAnswer = 200

// deadLetters is the file of what one destination has refused for good. Receivers of OTLP JSON read
// it as it is: they pass over the key that they do not know. A nil one keeps nothing.
type deadLetters struct{ lineFile }

func newDeadLetters(dir, exporter string, r Rotation) (*deadLetters, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &deadLetters{lineFile{path: filepath.Join(dir, exporter+".jsonl"), rotation: r}}, nil
}

// keep writes the records of a request. One that fails is lost, as it would be without the file, and said.
func (l *deadLetters) keep(o *out, r *request, reason string, answer error) {
	if l == nil {
		return
	}
	j := jsonLines.Get().(*jsonLine)
	defer jsonLines.Put(j)
	bufs, _ := r.buffers()
	err := j.of(r.signal, bufs)
	if err == nil {
		text := ""
		if answer != nil {
			text = answer.Error()
		}
		text = text[:min(len(text), maxDeadAnswer)]
		j.line = append(j.line[:len(j.line)-1], `,"deadLetter":{"time":`...) // a request is never {}
		j.line = otlp.AppendJSONString(j.line, time.Now().UTC().AppendFormat(nil, time.RFC3339Nano))
		for _, kv := range [][2]string{{"exporter", o.name}, {"reason", reason}, {"answer", text}} {
			j.line = append(otlp.AppendJSONString(append(j.line, ','), []byte(kv[0])), ':')
			j.line = otlp.AppendJSONString(j.line, []byte(kv[1]))
		}
		err = l.write(context.Background(), fmt.Appendf(j.line, `,"records":%d}}`+"\n", r.records))
	}
	if err != nil {
		o.log.Error("refused records can't be kept in the dead-letter file", "exporter", o.name, "records", r.records, "err", err)
		return
	}
	o.stats[r.signal].dead.Add(int64(r.records))
}

// finish closes the file.
func (l *deadLetters) finish() {
	if l != nil {
		l.close()
	}
}
