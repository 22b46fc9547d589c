package kubelet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// told is what a summary tells of its parts, as text: path, figure and value.
type told map[string]string

// readTold decodes a summary and lists what it tells.
func readTold(r io.Reader) (told, error) {
	all, pods := told{}, 0
	var s *summary
	add := func(where string, v *sample) {
		all[where] = "there"
		for name, f := range figureNames {
			if v.tells(f) {
				all[where+" "+name] = strconv.FormatUint(v.v[f], 10)
			}
		}
		for i, name := range []string{"name", "namespace", "uid", "claim"} {
			if len(v.text[i]) > 0 {
				all[where+" "+name] = string(v.text[i])
			}
		}
	}
	list := func(where string, part int) {
		for i := range s.lists[part] {
			add(fmt.Sprintf("%s[%d]", where, i), &s.lists[part][i])
		}
	}
	s = newSummary(func() {
		add("node", &s.node)
		list("node.systemContainers", partSystem)
		list("node.interfaces", partNodeInterfaces)
	}, func() {
		where := fmt.Sprintf("pods[%d]", pods)
		pods++
		add(where, &s.pod)
		list(where+".containers", partContainers)
		list(where+".volume", partVolumes)
		list(where+".interfaces", partInterfaces)
	})
	err := s.read(r)
	return all, err
}

var figureNames = map[string]int{
	"startTime": began, "cpu.time": cpuAt, "cpu.usageCoreNanoSeconds": cpuUsed,
	"memory.time": memoryAt, "memory.availableBytes": memoryAvailable, "memory.usageBytes": memoryUsage, "memory.workingSetBytes": memoryWorkingSet,
	"memory.rssBytes": memoryRSS, "memory.pageFaults": memoryFaults, "memory.majorPageFaults": memoryMajorFaults,
	"io.time": ioAt, "network.time": networkAt, "rxBytes": receivedBytes, "rxErrors": receivedErrors, "txBytes": sentBytes, "txErrors": sentErrors,
	"fs.time": fsAt, "fs.availableBytes": fsAvailable, "fs.capacityBytes": fsCapacity, "fs.usedBytes": fsUsed,
	"fs.inodesFree": fsInodesFree, "fs.inodes": fsInodes, "fs.inodesUsed": fsInodesUsed, "logs.time": logsAt, "logs.usedBytes": logsUsed,
	"imageFs.time": imagesAt, "imageFs.availableBytes": imagesAvailable, "imageFs.capacityBytes": imagesCapacity, "imageFs.usedBytes": imagesUsed, "imageFs.inodesFree": imagesInodesFree,
	"containerFs.time": layersAt, "containerFs.availableBytes": layersAvailable, "containerFs.capacityBytes": layersCapacity, "containerFs.usedBytes": layersUsed, "containerFs.inodesFree": layersInodesFree,
	"rlimit.time": limitsAt, "rlimit.maxpid": limitsMaxPid, "rlimit.curproc": limitsCurProc,
	"swap.time": swapAt, "swap.swapAvailableBytes": swapAvailable, "swap.swapUsageBytes": swapUsage, "process_count": processes,
	"cpu.psi.some.total": psiFirst + psiSome, "cpu.psi.some.avg10": psiFirst + psiSomeAvg10, "cpu.psi.some.avg60": psiFirst + psiSomeAvg60,
	"cpu.psi.some.avg300": psiFirst + psiSomeAvg300, "cpu.psi.full.avg10": psiFirst + psiFullAvg10, "cpu.psi.full.avg60": psiFirst + psiFullAvg60, "cpu.psi.full.avg300": psiFirst + psiFullAvg300,
	"memory.psi.some.avg300": psiFirst + psiFigures + psiSomeAvg300, "memory.psi.full.avg10": psiFirst + psiFigures + psiFullAvg10, "memory.psi.full.avg60": psiFirst + psiFigures + psiFullAvg60, "memory.psi.full.avg300": psiFirst + psiFigures + psiFullAvg300,
	"io.psi.some.avg300": psiFirst + 2*psiFigures + psiSomeAvg300, "io.psi.full.avg10": psiFirst + 2*psiFigures + psiFullAvg10, "io.psi.full.avg60": psiFirst + 2*psiFigures + psiFullAvg60, "io.psi.full.avg300": psiFirst + 2*psiFigures + psiFullAvg300,
	"cpu.psi.full.total":    psiFirst + psiFull,
	"memory.psi.some.total": psiFirst + psiFigures + psiSome, "memory.psi.some.avg10": psiFirst + psiFigures + psiSomeAvg10,
	"memory.psi.some.avg60": psiFirst + psiFigures + psiSomeAvg60, "memory.psi.full.total": psiFirst + psiFigures + psiFull,
	"io.psi.some.total": psiFirst + 2*psiFigures + psiSome, "io.psi.some.avg10": psiFirst + 2*psiFigures + psiSomeAvg10,
	"io.psi.some.avg60": psiFirst + 2*psiFigures + psiSomeAvg60, "io.psi.full.total": psiFirst + 2*psiFigures + psiFull,
}

// expected is the same by encoding/json and paths.
func expected(body []byte) told {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var root any
	if dec.Decode(&root) != nil {
		return nil
	}
	all := told{}
	at := func(v any, path string) any {
		for key := range strings.SplitSeq(path, ".") {
			m, _ := v.(map[string]any)
			v = m[key]
		}
		return v
	}
	number := func(where, name string, v any) {
		n, _ := v.(json.Number)
		switch {
		case len(n) > maxDigits || n == "":
		case strings.Contains(name, ".avg"):
			if f, err := strconv.ParseFloat(string(n), 64); err == nil && f >= 0 {
				all[where+" "+name] = strconv.FormatUint(math.Float64bits(f), 10)
			}
		default:
			if i, err := strconv.ParseUint(string(n), 10, 64); err == nil && i < 1<<62 {
				all[where+" "+name] = strconv.FormatUint(i, 10)
			}
		}
	}
	instant := func(where, name string, v any) {
		s, _ := v.(string)
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil && kept(t) {
			all[where+" "+name] = strconv.FormatInt(t.UnixNano(), 10)
		}
	}
	word := func(where, name string, v any) {
		if s, _ := v.(string); s != "" && len(s) <= maxName {
			all[where+" "+name] = s
		}
	}
	// figures: those of a part of this sort, some under another name than their path.
	part := func(where string, v any, paths map[string]string) {
		all[where] = "there"
		for path, name := range paths {
			if name == "" {
				name = path
			}
			switch leaf := path[strings.LastIndexByte(path, '.')+1:]; leaf {
			case "time", "startTime":
				instant(where, name, at(v, path))
			case "name", "namespace", "uid":
				word(where, name, at(v, path))
			default:
				number(where, name, at(v, path))
			}
		}
	}
	list := func(where string, v any, each func(where string, v any)) {
		l, _ := v.([]any)
		n := 0
		for _, v := range l {
			if _, ok := v.(map[string]any); ok && n < maxElements {
				each(fmt.Sprintf("%s[%d]", where, n), v)
				n++
			}
		}
	}
	with := func(m map[string]string, more ...string) map[string]string {
		all := map[string]string{}
		for k, v := range m {
			all[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
	common := map[string]string{}
	for name := range figureNames {
		if head, _, _ := strings.Cut(name, "."); slices.Contains([]string{"startTime", "cpu", "memory", "io", "swap"}, head) {
			common[name] = ""
		}
	}
	fs := func(at, name string, n int) (paths []string) {
		for _, leaf := range []string{"time", "availableBytes", "capacityBytes", "usedBytes", "inodesFree", "inodes", "inodesUsed"}[:n] {
			paths = append(paths, strings.TrimPrefix(at+"."+leaf, "."), name+"."+leaf)
		}
		return paths
	}
	container := with(common, append(fs("rootfs", "fs", 7), "name", "", "logs.time", "", "logs.usedBytes", "")...)
	pod := with(common, append(fs("ephemeral-storage", "fs", 7), "podRef.name", "name", "podRef.namespace", "namespace", "podRef.uid", "uid", "network.time", "", "process_stats.process_count", "process_count")...)
	node := with(common, slices.Concat(fs("fs", "fs", 7), fs("runtime.imageFs", "imageFs", 5), fs("runtime.containerFs", "containerFs", 5),
		[]string{"network.time", "", "rlimit.time", "", "rlimit.maxpid", "", "rlimit.curproc", ""})...)
	nic := map[string]string{"name": "", "rxBytes": "", "rxErrors": "", "txBytes": "", "txErrors": ""}
	volume := with(nil, append(fs("", "fs", 7), "name", "", "pvcRef.name", "claim")...)

	if n, ok := at(root, "node").(map[string]any); ok {
		part("node", n, node)
		list("node.systemContainers", n["systemContainers"], func(where string, v any) { part(where, v, container) })
		list("node.interfaces", at(n, "network.interfaces"), func(where string, v any) { part(where, v, nic) })
	}
	pods, _ := at(root, "pods").([]any)
	i := 0
	for _, v := range pods {
		m, ok := v.(map[string]any)
		if !ok {
			continue
		}
		where := fmt.Sprintf("pods[%d]", i)
		i++
		part(where, v, pod)
		list(where+".containers", m["containers"], func(where string, v any) { part(where, v, container) })
		list(where+".volume", m["volume"], func(where string, v any) { part(where, v, volume) })
		list(where+".interfaces", at(v, "network.interfaces"), func(where string, v any) { part(where, v, nic) })
	}
	return all
}

// checkSummary reads a body in several ways and compares it with encoding/json.
func checkSummary(t *testing.T, body []byte) {
	t.Helper()
	got, err := readTold(bytes.NewReader(body))
	slow, err2 := readTold(iotest.OneByteReader(bytes.NewReader(body)))
	if fmt.Sprint(err) != fmt.Sprint(err2) || err == nil && !cmp.Equal(got, slow) {
		t.Errorf("read byte by byte: %v\n%s", err2, cmp.Diff(got, slow))
	}
	valid := json.Valid(body) && bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))
	switch {
	case !valid && err == nil:
		t.Errorf("no error for what is no JSON object")
	case valid && err != nil && !strings.Contains(err.Error(), "key twice") && !strings.Contains(err.Error(), "levels") && !strings.Contains(err.Error(), "no node"):
		t.Errorf("error for valid JSON: %v", err)
	case err == nil:
		if diff := cmp.Diff(expected(body), got); diff != "" {
			t.Errorf("-encoding/json +got\n%s", diff)
		}
	}
}

var oddSummaries = []string{
	`{"pods":[{"podRef":{"uid":"a","name":"\u0061\"\ud83d\ude00\n","namespace":"x"},"containers":null},null,7,{}],"node":{}}`,
	"{\"node\":{\"cpu\":{\"time\":\"2026-11-22T15:45:12.5+01:00\",\"usageCoreNanoSeconds\":18446744073709547520},\"memory\":{\"usageBytes\":4611686018427387903,\"rssBytes\":4611686018427387904,\"pageFaults\":-1,\"majorPageFaults\":1e3}}}",
	"\t{ \"n\\u006fde\" :\r\n{ \"swap\" : [ ] , \"fs\":{\"time\":\"0001-01-01T00:00:00Z\",\"usedBytes\":\"7\",\"inodes\": 12 } } , \"x\":[{\"y\":[true,false,null,-0.5e+7,\"\\/\"]}] } ",
	`{"node":{"cpu":{"psi":{"some":{"avg10":0.25,"avg60":100,"total":1},"full":{"avg10":1e400}}},"memory":{"psi":{"some":{"avg10":{"5":1},"avg60":-0}}}}}`,
	"{\"node\":{\"network\":{\"interfaces\":[{\"name\":\"\xff\xfeeth0\",\"rxBytes\":01}]}}}",
	`{"node":{"startTime":"2026-13-01T00:00:00Z","cpu":{"time":"2026-11-22T24:00:00Z"}},"pods":{}}`,
	`{"node":{"nodeName":1,"nodeName":2}}`, `{"node":{}}x`, `[]`, `null`, ``, `{`, `{"node":{"cpu":{"usageCoreNanoSeconds":12345678901234567890123456789012345678901234567890}}}`,
}

func TestSummaryIsWhatEncodingJSONReads(t *testing.T) {
	for name := range captures {
		checkSummary(t, captured(t, "stats_summary."+name+".json"))
	}
	for _, s := range oddSummaries {
		checkSummary(t, []byte(s))
	}
	checkSummary(t, manyPods(t, 3, 300, 300)) // more than are kept
}

func FuzzSummary(f *testing.F) {
	for _, s := range oddSummaries {
		f.Add([]byte(s))
	}
	var small bytes.Buffer
	json.Compact(&small, captured(f, "stats_summary.idle.json"))
	f.Add(small.Bytes())
	f.Add(captured(f, "stats_summary.idle.json"))
	f.Fuzz(func(t *testing.T, body []byte) { checkSummary(t, body) })
}

// TestSummaryCutOff: an answer that ends early, anywhere, is an error that tells where.
func TestSummaryCutOff(t *testing.T) {
	body := bytes.TrimSpace(captured(t, "stats_summary.idle.json"))
	for n := range body {
		if _, err := readTold(bytes.NewReader(body[:n])); err == nil {
			t.Fatalf("no error for the first %d bytes", n)
		}
	}
	big := bytes.TrimSpace(captured(t, "stats_summary.busy.json"))
	for n := 0; n < len(big); n += 499 {
		if _, err := readTold(bytes.NewReader(big[:n])); err == nil {
			t.Fatalf("no error for the first %d bytes", n)
		}
		broken := slices.Clone(big)
		broken[n] ^= 0x55
		checkSummary(t, broken)
	}
}

func TestSummaryErrorsTellThePlace(t *testing.T) {
	for body, want := range map[string]string{
		`{"node":{"cpu":{"time":"x","usageCoreNanoSeconds":1`:         "byte 51, in node.cpu: it ends, want a comma or the end of the object",
		`{"node":{},"pods":[{},{"containers":[{"cpu":{"time":!}}]}]}`: `byte 52, in pods[1].containers[0].cpu.time: found '!', want a value`,
		`<html>`:                           `byte 0, in the summary: found '<', want an object`,
		`{}`:                               "it has no node: not a summary",
		`{"node":{"x":{"y":tru}}}`:         `byte 21, in node.another key.another key: found '}', want true`,
		`{"node":{}} {`:                    `byte 12, in the summary: found '{', want nothing more`,
		`{"a":` + strings.Repeat("[", 100): "want no more than 64 levels",
	} {
		if _, err := readTold(strings.NewReader(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
	down := errors.New("connection lost")
	_, err := readTold(io.MultiReader(strings.NewReader(`{"node":{"cpu"`), iotest.ErrReader(down)))
	if !errors.Is(err, down) || !strings.Contains(err.Error(), "in node: it breaks off") {
		t.Errorf("broken connection: %v", err)
	}
}
