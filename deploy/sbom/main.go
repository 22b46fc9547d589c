// Command sbom writes what binaries are made of as SPDX 2.3 JSON: the modules in their build information, with their
// versions and sums. The same binaries give the same bytes.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

func main() {
	version := flag.String("version", "", "of the binaries")
	revision := flag.String("revision", "", "commit that they were built from")
	created := flag.Int64("created", 0, "Unix time")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "usage: sbom -version V -revision COMMIT -created UNIX BINARY >FILE") }
	flag.Parse()
	doc, err := document(flag.Args(), *version, *revision, time.Unix(*created, 0).UTC())
	if err == nil {
		_, err = os.Stdout.Write(doc)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// The parts of SPDX 2.3 that are used.
type (
	spdx struct {
		Version       string         `json:"spdxVersion"`
		DataLicense   string         `json:"dataLicense"`
		ID            string         `json:"SPDXID"`
		Name          string         `json:"name"`
		Namespace     string         `json:"documentNamespace"`
		CreationInfo  creation       `json:"creationInfo"`
		Packages      []spdxPackage  `json:"packages"`
		Relationships []relationship `json:"relationships"`
	}
	creation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		ID               string        `json:"SPDXID"`
		Name             string        `json:"name"`
		Version          string        `json:"versionInfo,omitempty"`
		FileName         string        `json:"packageFileName,omitempty"`
		DownloadLocation string        `json:"downloadLocation"`
		FilesAnalyzed    bool          `json:"filesAnalyzed"`
		Concluded        string        `json:"licenseConcluded"`
		Declared         string        `json:"licenseDeclared"`
		Copyright        string        `json:"copyrightText"`
		Checksums        []checksum    `json:"checksums,omitempty"`
		Refs             []externalRef `json:"externalRefs,omitempty"`
		Comment          string        `json:"comment,omitempty"`
	}
	checksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	externalRef struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	relationship struct {
		From string `json:"spdxElementId"`
		Type string `json:"relationshipType"`
		To   string `json:"relatedSpdxElement"`
	}
)

const none = "NOASSERTION"

// document describes one binary.
func document(files []string, version, revision string, created time.Time) ([]byte, error) {
	if len(files) != 1 {
		return nil, errors.New("one binary is needed")
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.ReadFile(files[0])
	if err != nil {
		return nil, err
	}
	sum, settings := sha256.Sum256(content), map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	name := filepath.Base(info.Path)
	program := spdxPackage{
		ID: "SPDXRef-binary", Name: name, Version: version, FileName: name, DownloadLocation: none,
		Concluded: "Apache-2.0", Declared: "Apache-2.0", Copyright: none,
		Checksums: []checksum{{"SHA256", hex.EncodeToString(sum[:])}},
		Comment:   fmt.Sprintf("built by %s for %s/%s from commit %s", info.GoVersion, settings["GOOS"], settings["GOARCH"], revision),
	}
	doc := spdx{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: name + "-" + version,
		// The sum makes it the only document of this name.
		Namespace:     fmt.Sprintf("urn:stint:sbom:%s:%x", name, sum),
		CreationInfo:  creation{created.Format(time.RFC3339), []string{"Tool: stint-deploy-sbom"}},
		Packages:      []spdxPackage{program},
		Relationships: []relationship{{"SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-binary"}},
	}
	parts := append([]*debug.Module{{Path: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")}}, info.Deps...)
	for i, m := range parts {
		for m.Replace != nil {
			m = m.Replace
		}
		p, err := module(m)
		if err != nil {
			return nil, err
		}
		p.ID = fmt.Sprintf("SPDXRef-module-%d", i)
		doc.Packages = append(doc.Packages, p)
		doc.Relationships = append(doc.Relationships, relationship{"SPDXRef-binary", "CONTAINS", p.ID})
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	return append(text, '\n'), err
}

// module is a part of the binary; the license of it is in its source and not in the build information.
func module(m *debug.Module) (spdxPackage, error) {
	p := spdxPackage{
		Name: m.Path, Version: m.Version, DownloadLocation: none, Concluded: none, Declared: none, Copyright: none,
		Refs: []externalRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + m.Path + "@" + strings.ReplaceAll(m.Version, "+", "%2B")}},
	}
	// h1: is a SHA-256 over the list of the module's files and their sums, not over an archive that SPDX could name.
	if sum, ok := strings.CutPrefix(m.Sum, "h1:"); ok {
		b, err := base64.StdEncoding.DecodeString(sum)
		if err != nil || len(b) != sha256.Size {
			return p, fmt.Errorf("sum %q of %s is no SHA-256", m.Sum, m.Path)
		}
		p.Comment = "go.sum: " + m.Sum
	}
	return p, nil
}
