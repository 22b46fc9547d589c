package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"stint/agent/command"
	"strings"
	"testing"
)

const completions = "../../deploy/package/completion/"

// flagWord is a flag as the help writes it.
var flagWord = regexp.MustCompile(`--[a-z]+`)

// flagsOf are the flags that the command line takes with a verb, of those that any help names.
func flagsOf(t *testing.T, verb string) (flags []string) {
	t.Helper()
	var all strings.Builder
	for _, v := range append([]string{""}, verbs...) {
		all.WriteString(help(v))
	}
	words := flagWord.FindAllString(all.String(), -1)
	slices.Sort(words)
	for _, f := range slices.Compact(words) {
		for _, value := range []string{"", "=text"} {
			if _, err := command.Parse("stint-agent", verbs, []string{verb, f + value}); err == nil {
				flags = append(flags, f)
				break
			}
		}
	}
	if verb != "version" && verb != "help" && verb != "convert" && !slices.Contains(flags, "--config") {
		t.Fatalf("%s takes no --config; flags: %v", verb, flags)
	}
	return flags
}

// TestCompletionNamesAll: the files of each shell name every verb, and every flag.
func TestCompletionNamesAll(t *testing.T) {
	for file, flagForm := range map[string]string{"stint-agent.bash": "--", "_stint-agent": "--", "stint-agent.fish": "-l "} {
		b, err := os.ReadFile(completions + file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for _, verb := range verbs {
			if !regexp.MustCompile(`\b` + verb + `\b`).MatchString(text) {
				t.Errorf("%s does not know the command %s", file, verb)
			}
			for _, f := range flagsOf(t, verb) {
				if !regexp.MustCompile(flagForm + strings.TrimPrefix(f, "--") + `\b`).MatchString(text) {
					t.Errorf("%s does not know %s of %s", file, f, verb)
				}
			}
		}
		if f := regexp.MustCompile(flagForm+`([a-z]+)`).FindAllStringSubmatch(text, -1); file != "stint-agent.fish" {
			for _, m := range f {
				if !slices.ContainsFunc(verbs, func(v string) bool { return slices.Contains(flagsOf(t, v), "--"+m[1]) }) {
					t.Errorf("%s offers --%s, which no command takes", file, m[1])
				}
			}
		}
	}
}

// TestCompletionBash: a real bash completes each command to exactly its flags.
func TestCompletionBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash here")
	}
	complete := func(words ...string) []string {
		script := `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _stint_agent; printf '%s\n' "${COMPREPLY[@]}"`
		out, err := exec.Command(bash, append([]string{"--norc", "-c", script, filepath.FromSlash(completions + "stint-agent.bash")}, words...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("bash: %v: %s", err, out)
		}
		got := strings.Fields(string(out))
		slices.Sort(got)
		return got
	}
	for _, verb := range verbs {
		want := flagsOf(t, verb)
		switch verb {
		case "help":
			want = slices.Sorted(slices.Values(verbs))
		case "convert": // files
			want, _ = filepath.Glob("*")
		}
		if got := complete("stint-agent", verb, ""); !slices.Equal(got, want) {
			t.Errorf("after %s bash offers %v, want %v", verb, got, want)
		}
	}
	if got, want := complete("stint-agent", ""), slices.Sorted(slices.Values(append(flagsOf(t, "run"), verbs...))); !slices.Equal(got, want) {
		t.Errorf("bash offers %v, want %v", got, want)
	}
	if got := complete("stint-agent", "once", "--format", ""); !slices.Equal(got, []string{"otlp-json", "text"}) {
		t.Errorf("bash offers formats %v", got)
	}
}
