package tail

import (
	"sync/atomic"
	"testing"
	"time"

	"stint/export/otlp"
)

// known lets the rig's tailer learn about containers what the pointer says.
func (r *rig) known() *atomic.Pointer[Container] {
	about := &atomic.Pointer[Container]{}
	r.about = func(uid, container string, restart int) *Container {
		if uid != "uid-p" || container != "main" || restart != 0 {
			r.t.Errorf("asked about %s %s %d", uid, container, restart)
		}
		return about.Load()
	}
	return about
}

func TestRecordsWaitForMetadataAndGoWithoutItThen(t *testing.T) {
	r := newRig(t)
	about := r.known()
	path := r.log("p", "0.log")
	r.write(path, criLine("stdout F", "early"))
	begin := time.Now()
	r.start()
	r.same("early")
	if took := time.Since(begin); took < metadataWait {
		t.Errorf("the first record left after %v, metadata may take %v", took, time.Duration(metadataWait))
	}
	about.Store(&Container{Resource: []otlp.KeyValue{otlp.Attr("service.name", "shop"), otlp.Attr("k8s.pod.name", "not this")}})
	r.until("learned", func(Status) bool { return r.profileOf(r.root+"/ns_p_uid-p/main/0").of != nil })
	r.write(path, criLine("stdout F", "late"))
	r.same("early", "late")
	if a, b := r.got[0].service, r.got[1]; a != "" || b.service != "shop" || b.pod != "ns/p/main/0" {
		t.Errorf("service %q, then %q of %s", a, b.service, b.pod)
	}
}

// profileOf is what the next turn of a log works with.
func (r *rig) profileOf(key string) *profile {
	r.tailer.mu.Lock()
	defer r.tailer.mu.Unlock()
	c := r.tailer.chains[key]
	if c == nil {
		return &profile{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wanted
}

func TestKnownMetadataIsThereAtOnce(t *testing.T) {
	r := newRig(t)
	about := r.known()
	about.Store(&Container{Resource: []otlp.KeyValue{otlp.Attr("service.name", "shop")}})
	r.write(r.log("p", "0.log"), criLine("stdout F", "a"))
	r.start()
	r.same("a")
	if r.got[0].service != "shop" {
		t.Errorf("%+v", r.got[0])
	}
}

// TestExcludedLogIsPassedOverByWholeLines: what comes after the wish changed is read from the
// beginning of a line.
func TestExcludedLogIsPassedOverByWholeLines(t *testing.T) {
	r := newRig(t)
	about := r.known()
	about.Store(&Container{Exclude: true})
	path := r.log("p", "0.log")
	text, _ := full(1, 5000)
	half := criLine("stdout F", "begun while excluded")
	r.write(path, text+half[:30])
	r.start()
	r.until("passed over", func(s Status) bool { return s.Skipped == int64(len(text)) && s.Unsettled == 0 })
	r.write(path+stamp1, criLine("stdout F", "an old one")) // excluded as well
	r.until("that, too", func(s Status) bool { return s.Skipped > int64(len(text)) })
	about.Store(&Container{})
	r.until("learned", func(Status) bool { return !r.profileOf(r.root + "/ns_p_uid-p/main/0").skip })
	r.write(path, half[30:])
	r.same("begun while excluded")
	if s := r.tailer.Status(); s.LostBytes != 0 || s.Read != 1 {
		t.Errorf("%+v", s)
	}
}

func TestExcludedStream(t *testing.T) {
	r := newRig(t)
	r.known().Store(&Container{ExcludeStream: [2]bool{false, true}})
	r.write(r.log("p", "0.log"), criLine("stdout F", "a")+criLine("stderr P", "no ")+criLine("stderr F", "thanks")+criLine("stdout F", "b"))
	r.start()
	r.same("a", "b")
	r.until("counted and settled", func(s Status) bool { return s.Filtered == 1 && s.Unsettled == 0 })
}

// TestAnnotationsChooseModes: a stack trace becomes one record and a JSON body attributes, for
// this container only.
func TestAnnotationsChooseModes(t *testing.T) {
	r := newRig(t)
	r.known().Store(&Container{Multiline: "java", Parse: "json"})
	r.write(r.log("p", "0.log"), criLine("stdout F", "java.lang.IllegalStateException: no")+criLine("stdout F", "\tat a.B.c(B.java:1)")+
		criLine("stderr F", `{"level":"warn","msg":"hot"}`)+criLine("stdout F", "next"))
	r.start()
	r.wait(3)
	body := map[string]int{}
	for _, g := range r.got {
		body[g.body] = g.severity
	}
	if s := r.tailer.Status(); body["java.lang.IllegalStateException: no\n\tat a.B.c(B.java:1)"] != 0 || body["hot"] != 13 || len(body) != 3 || s.Grouped != 1 || s.Parsed != 1 {
		t.Errorf("%v; grouped %d, parsed %d", body, s.Grouped, s.Parsed)
	}
	r.until("the last one is flushed and all settled", func(s Status) bool { return s.Unsettled == 0 && s.Unfinished == 0 })
}

// TestGroupIsNotSplitByRotationOrRestart: the frontier lies before the lines of a record that may
// go on.
func TestGroupIsNotSplitByRotationOrRestart(t *testing.T) {
	r := newRig(t)
	r.cfg.Multiline.Mode = "python"
	path := r.log("p", "0.log")
	r.write(path, criLine("stdout F", "before")+criLine("stdout F", "Traceback (most recent call last):"))
	r.start()
	r.same("before")
	r.kill()
	r.write(path, criLine("stdout F", `  File "x.py", line 1, in <module>`))
	r.rename(path, path+stamp1)
	r.old(path + stamp1)
	r.write(path, criLine("stdout F", "ValueError: no")+criLine("stdout F", "after"))
	r.mu.Lock()
	r.got = nil
	r.mu.Unlock()
	r.start()
	want := "Traceback (most recent call last):\n  File \"x.py\", line 1, in <module>\nValueError: no"
	r.until("all settled", func(s Status) bool { return s.Delivered >= 2 && s.BehindBytes == 0 && s.Unsettled == 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	got := bodies(r.got)
	if len(got) > 0 && got[0] == "before" { // not yet saved when it was killed
		got = got[1:]
	}
	if len(got) != 2 || got[0] != want || got[1] != "after" {
		t.Errorf("%q", got)
	}
}

func TestRateLimit(t *testing.T) {
	r := newRig(t)
	r.cfg.Containers.RateLimit = RateLimit{RecordsPerSecond: 0.001, Burst: 3}
	text, _ := full(1, 10)
	r.write(r.log("p", "0.log"), text)
	r.write(r.log("q", "0.log"), criLine("stdout F", "a neighbour"))
	r.start()
	r.until("limited", func(s Status) bool { return s.Limited == 7 && s.Delivered == 4 && s.Unsettled == 0 })
}
