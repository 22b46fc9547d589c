package tail

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestParseCRI(t *testing.T) {
	const at = "2026-01-02T03:04:05.000000006Z"
	want := uint64(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC).UnixNano())
	for name, tc := range map[string]struct {
		line    string
		body    string
		stream  stream
		partial bool
		time    uint64 // 0: want
		bad     bool
	}{
		"full":                        {line: at + " stdout F hi", body: "hi"},
		"partial":                     {line: at + " stderr P hi", body: "hi", stream: stderr, partial: true},
		"several tags, first decides": {line: at + " stdout F:x:y hi", body: "hi"},
		"partial with a second tag":   {line: at + " stdout P:x hi", body: "hi", partial: true},
		"tags and nothing else":       {line: at + " stdout F:x", body: ""},
		"empty body":                  {line: at + " stdout F ", body: ""},
		"no body at all":              {line: at + " stdout F", body: ""},
		"white space is content":      {line: at + " stdout F   hi \t", body: "  hi \t"},
		"zone east":                   {line: "2026-01-02T05:34:05.000000006+02:30 stdout F hi", body: "hi"},
		"zone west":                   {line: "2026-01-01T22:04:05.000000006-05:00 stdout F hi", body: "hi"},
		"no fraction":                 {line: "2026-01-02T03:04:05Z stdout F hi", body: "hi", time: want - 6},
		"one digit of fraction":       {line: "2026-01-02T03:04:05.5Z stdout F hi", body: "hi", time: want - 6 + 5e8},
		"twelve digits of fraction":   {line: "2026-01-02T03:04:05.000000006999Z stdout F hi", body: "hi"},
		"leap day":                    {line: "2024-02-29T00:00:00Z stdout F hi", body: "hi", time: uint64(time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC).UnixNano())},

		"no tag":                 {line: at + " stdout", bad: true},
		"unknown tag":            {line: at + " stdout X hi", bad: true},
		"unknown stream":         {line: at + " stdoutx F hi", bad: true},
		"stream cut":             {line: at + " stdou", bad: true},
		"no time":                {line: "stdout F hi", bad: true},
		"month 13":               {line: "2026-13-02T03:04:05Z stdout F hi", bad: true},
		"29 February, no leap":   {line: "2026-02-29T03:04:05Z stdout F hi", bad: true},
		"second 60":              {line: "2026-01-02T03:04:60Z stdout F hi", bad: true},
		"fraction without digit": {line: "2026-01-02T03:04:05.Z stdout F hi", bad: true},
		"letters for digits":     {line: "2O26-01-02T03:04:05Z stdout F hi", bad: true},
		"before 1970":            {line: "1969-12-31T23:59:59Z stdout F hi", bad: true},
		"zone without colon":     {line: "2026-01-02T03:04:05+0100 stdout F hi", bad: true},
		"tag runs into body":     {line: at + " stdout Fhi", bad: true},
		"empty":                  {line: "", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			var c clock
			for range 2 { // the second time with the second remembered
				l, ok := parseCRI([]byte(tc.line), &c)
				if ok == tc.bad {
					t.Fatalf("parseCRI(%q) ok = %v", tc.line, ok)
				}
				if tc.bad {
					continue
				}
				if tc.time == 0 {
					tc.time = want
				}
				if string(l.body) != tc.body || l.stream != tc.stream || l.partial != tc.partial || l.time != tc.time {
					t.Errorf("parseCRI(%q) = %+v body %q, want %+v", tc.line, l, l.body, tc)
				}
			}
		})
	}
}

// TestClockAgreesWithTime compares with package time over every day of 140 years and all zones.
func TestClockAgreesWithTime(t *testing.T) {
	var c clock
	zones := []*time.Location{time.UTC, time.FixedZone("", 5*3600+45*60), time.FixedZone("", -11*3600)}
	for day := range 140 * 365 {
		at := time.Unix(int64(day)*86400+int64(day*7919%86400), int64(day)*104_729%1e9).In(zones[day%3])
		text := at.Format(time.RFC3339Nano)
		ns, n := c.parse([]byte(text))
		if n != len(text) || ns != uint64(at.UnixNano()) {
			t.Fatalf("parse(%s) = %d, %d, want %d, %d", text, ns, n, at.UnixNano(), len(text))
		}
	}
}

func TestParseDocker(t *testing.T) {
	for name, tc := range map[string]struct {
		line    string
		body    string
		stream  stream
		partial bool
		bad     bool
	}{
		"full":                {line: `{"log":"hi\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}`, body: "hi"},
		"piece":               {line: `{"log":"hi","stream":"stderr","time":"2026-01-02T03:04:05.6Z"}`, body: "hi", stream: stderr, partial: true},
		"escapes":             {line: `{"log":"\u003ca\u0026b\u003e \"q\" \\ \/ \t\b\f\r\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}`, body: "<a&b> \"q\" \\ / \t\b\f"},
		"surrogate pair":      {line: `{"log":"\ud83d\ude00\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}`, body: "😀"},
		"half a surrogate":    {line: `{"log":"\ud83dx\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}`, body: "\uFFFDx"},
		"attrs":               {line: `{"log":"hi\n","stream":"stdout","attrs":{"a":"b","c":[1,{"d":null}]},"time":"2026-01-02T03:04:05Z"}`, body: "hi"},
		"other order, spaces": {line: ` { "time" : "2026-01-02T03:04:05Z" , "stream" : "stderr" , "log" : "hi\n" } `, body: "hi", stream: stderr},
		"empty message":       {line: `{"log":"\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}`, body: ""},
		"bad time":            {line: `{"log":"hi\n","stream":"stdout","time":"yesterday"}`, body: "hi"},

		"cut":              {line: `{"log":"hi\n","stream":"stdo`, bad: true},
		"cut in an escape": {line: `{"log":"hi\`, bad: true},
		"no stream":        {line: `{"log":"hi\n"}`, bad: true},
		"unknown stream":   {line: `{"log":"hi\n","stream":"stdin"}`, bad: true},
		"no log":           {line: `{"stream":"stdout"}`, bad: true},
		"log is a number":  {line: `{"log":7,"stream":"stdout"}`, bad: true},
		"something after":  {line: `{"log":"hi\n","stream":"stdout"} x`, bad: true},
		"an application's": {line: `{"level":"info","msg":"hi"}`, bad: true},
		"nested too deep":  {line: `{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `,"log":"a\n","stream":"stdout"}`, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			var c clock
			l, _, ok := parseDocker([]byte(tc.line), &c, nil)
			if ok == tc.bad {
				t.Fatalf("parseDocker(%q) ok = %v", tc.line, ok)
			}
			if !tc.bad && (string(l.body) != tc.body || l.stream != tc.stream || l.partial != tc.partial) {
				t.Errorf("parseDocker(%q) = %+v body %q, want %+v", tc.line, l, l.body, tc)
			}
		})
	}
}

func TestParsePaths(t *testing.T) {
	for dir, want := range map[string]pod{
		"shop_web-65986c78cb-gmbf5_d65889c9-b0ae-463c-823d-1e0dd8643b59":     {"shop", "web-65986c78cb-gmbf5", "d65889c9-b0ae-463c-823d-1e0dd8643b59"},
		"shop_guaranteed.with.dots_fa3f4c3b-6eb8-4a93-b55b-98d746c82792":     {"shop", "guaranteed.with.dots", "fa3f4c3b-6eb8-4a93-b55b-98d746c82792"},
		"kube-system_static-web-lab-node-1_4033837a36ec65ab973b61164d2f4b0a": {"kube-system", "static-web-lab-node-1", "4033837a36ec65ab973b61164d2f4b0a"},
	} {
		if got, ok := parsePod(dir); !ok || got != want {
			t.Errorf("parsePod(%q) = %+v, %v, want %+v", dir, got, ok, want)
		}
	}
	for _, dir := range []string{"", "a", "a_b", "a__c", "_b_c", "a_b_", "a_b_c_d"} {
		if got, ok := parsePod(dir); ok {
			t.Errorf("parsePod(%q) = %+v, want none", dir, got)
		}
	}
	for name, want := range map[string]struct {
		restart int
		stamp   string
		gz      bool
	}{
		"0.log":                    {0, "", false},
		"12.log":                   {12, "", false},
		"0.log.20261122-174456":    {0, "20261122-174456", false},
		"3.log.20261122-174456.gz": {3, "20261122-174456", true},
	} {
		restart, stamp, gz, ok := parseLogName(name)
		if !ok || restart != want.restart || stamp != want.stamp || gz != want.gz {
			t.Errorf("parseLogName(%q) = %d, %q, %v, %v", name, restart, stamp, gz, ok)
		}
	}
	for _, name := range []string{"", ".log", "a.log", "-1.log", "+1.log", "0.log.gz", "0.log.20261122-174456.tmp", "0.log.20261122-174456.gz.tmp", "0.log.2026112a-174456", "0.logs", "0.log~"} {
		if _, _, _, ok := parseLogName(name); ok {
			t.Errorf("parseLogName(%q) is taken for a log", name)
		}
	}
}

// FuzzCRI: what is accepted consists of its parts again, and its time is what package time reads.
func FuzzCRI(f *testing.F) {
	f.Add([]byte("2026-01-02T03:04:05.000000006Z stdout F hi"))
	f.Add([]byte("2026-01-02T03:04:05+01:00 stderr P:x "))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c clock
		l, ok := parseCRI(b, &c)
		if !ok {
			return
		}
		stamp, rest, _ := strings.Cut(string(b), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil || uint64(at.UnixNano()) != l.time {
			// package time reads "2006-01-02T15:04:05,5Z" and fractions longer than 9 digits otherwise
			if !strings.Contains(stamp, ",") && at.Year() < 2262 && len(stamp) < 36 {
				t.Fatalf("%q: time %d, package time says %v, %v", b, l.time, at, err)
			}
		}
		name, tag := map[stream]string{stdout: "stdout", stderr: "stderr"}[l.stream], "F"
		if l.partial {
			tag = "P"
		}
		if !strings.HasPrefix(rest, name+" "+tag) || !strings.HasSuffix(rest, string(l.body)) {
			t.Fatalf("%q gave %q %q %q", b, name, tag, l.body)
		}
	})
}

// FuzzDocker: what encoding/json reads as a json-file line is read alike.
func FuzzDocker(f *testing.F) {
	f.Add([]byte(`{"log":"hi\u003c\n","stream":"stdout","attrs":{"a":1},"time":"2026-01-02T03:04:05.6Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c clock
		l, _, ok := parseDocker(b, &c, nil)
		var want struct {
			Log    *string `json:"log"`
			Stream *string `json:"stream"`
		}
		if !ok || !utf8.Valid(b) || json.Unmarshal(b, &want) != nil || want.Log == nil || want.Stream == nil {
			return
		}
		// encoding/json folds case and lets the last of equal keys win; skip what could differ so.
		if n := strings.Count(strings.ToLower(string(b)), `log"`); n != 1 {
			return
		}
		body := *want.Log
		if !l.partial {
			body = strings.TrimSuffix(strings.TrimSuffix(body, "\n"), "\r")
		}
		if string(l.body) != body {
			t.Fatalf("%q: body %q, want %q", b, l.body, body)
		}
	})
}

// FuzzLogName: what is accepted prints as it was read.
func FuzzLogName(f *testing.F) {
	f.Add("0.log")
	f.Add("3.log.20261122-174456.gz")
	f.Fuzz(func(t *testing.T, name string) {
		restart, stamp, gz, ok := parseLogName(name)
		if !ok {
			return
		}
		got := fmt.Sprintf("%d.log", restart)
		if stamp != "" {
			got += "." + stamp
		}
		if gz {
			got += ".gz"
		}
		if strings.TrimLeft(name, "0") != strings.TrimLeft(got, "0") {
			t.Errorf("%q was read as %q", name, got)
		}
	})
}

func BenchmarkParseCRI(b *testing.B) {
	for _, size := range []int{100, 500} {
		b.Run(fmt.Sprintf("line=%dB", size), func(b *testing.B) {
			text := []byte("2026-11-22T17:44:56.123456789Z stdout F " + strings.Repeat("x", size-40))
			var c clock
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := parseCRI(text, &c); !ok {
					b.Fatal("refused")
				}
			}
		})
	}
}
