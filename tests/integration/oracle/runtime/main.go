// Oracle answers questions by the libraries that the kubelet, containerd and CRI-O are made of: one JSON object a line on
// standard input, one answer a line on standard output. What a library refuses is an answer with an error.
package main

import (
	"bufio"
	"bytes"
	"context"
	_ "crypto/sha256" // reference only knows the digests that somebody registered
	_ "crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/sys/user"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
	"k8s.io/apimachinery/pkg/util/validation"
)

type question struct {
	Ask      string
	Text     string
	Raw      []byte
	Passwd   *[]byte
	Group    *[]byte
	Platform imagespec.Platform
}

type answer map[string]any

func main() {
	root, err := os.MkdirTemp("", "oracle-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		log.Fatal(err)
	}
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for {
		var asked question
		if err := in.Decode(&asked); err == io.EOF {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		if err := out.Encode(reply(asked, root)); err != nil {
			log.Fatal(err)
		}
	}
}

func reply(asked question, root string) answer {
	switch asked.Ask {
	case "reference":
		return parseReference(asked.Text)
	case "cri":
		return reportUser(asked.Text)
	case "uid":
		return validUID(asked.Text)
	case "containerd":
		return runContainerd(asked, root)
	case "moby":
		return runMoby(asked)
	case "config":
		return decodeConfig(asked.Raw)
	case "platform":
		found := platforms.Normalize(asked.Platform)
		return answer{"os": found.OS, "architecture": found.Architecture, "variant": found.Variant}
	}
	return refused(fmt.Errorf("nobody knows how to answer %q", asked.Ask))
}

func refused(err error) answer { return answer{"error": err.Error()} }

func parseReference(text string) answer {
	named, err := reference.ParseDockerRef(text)
	if err != nil {
		return refused(err)
	}
	found := answer{"registry": reference.Domain(named), "repository": reference.Path(named), "tag": nil, "digest": nil}
	if tagged, ok := named.(reference.Tagged); ok {
		found["tag"] = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		found["digest"] = digested.Digest().String()
	}
	return found
}

// reportUser is what internal/cri/server/images/image_status.go of containerd and server/image_status.go of CRI-O do,
// which cannot be linked.
func reportUser(text string) answer {
	left := strings.Split(text, ":")[0]
	if left == "" {
		return answer{"uid": nil, "name": ""}
	}
	if uid, err := strconv.ParseInt(left, 10, 64); err == nil {
		return answer{"uid": uid, "name": ""}
	}
	return answer{"uid": nil, "name": left}
}

func validUID(text string) answer {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return refused(err)
	}
	return answer{"problems": validation.IsValidUserID(number)}
}

func runContainerd(asked question, root string) answer {
	for name, content := range map[string]*[]byte{"passwd": asked.Passwd, "group": asked.Group} {
		path := filepath.Join(root, "etc", name)
		if content == nil {
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				log.Fatal(err)
			}
		} else if err := os.WriteFile(path, *content, 0o644); err != nil {
			log.Fatal(err)
		}
	}
	spec := oci.Spec{Root: &runtimespec.Root{Path: root}, Linux: &runtimespec.Linux{}}
	for _, option := range []oci.SpecOpts{oci.WithUser(asked.Text), oci.WithAdditionalGIDs(asked.Text)} {
		if err := option(context.Background(), nil, &containers.Container{}, &spec); err != nil {
			return refused(err)
		}
	}
	groups := slices.Clone(spec.Process.User.AdditionalGids)
	slices.Sort(groups)
	return answer{"uid": spec.Process.User.UID, "gid": spec.Process.User.GID, "groups": slices.Compact(groups)}
}

func runMoby(asked question) answer {
	var passwd, group io.Reader
	if asked.Passwd != nil {
		passwd = bytes.NewReader(*asked.Passwd)
	}
	if asked.Group != nil {
		group = bytes.NewReader(*asked.Group)
	}
	found, err := user.GetExecUser(asked.Text, nil, passwd, group)
	if err != nil {
		return refused(err)
	}
	return answer{"uid": found.Uid, "gid": found.Gid, "groups": found.Sgids, "home": found.Home}
}

func decodeConfig(raw []byte) answer {
	var image imagespec.Image
	if err := json.Unmarshal(raw, &image); err != nil {
		return refused(err)
	}
	settings := image.Config
	return answer{
		"user":          settings.User,
		"os":            image.OS,
		"architecture":  image.Architecture,
		"variant":       image.Variant,
		"diff_ids":      image.RootFS.DiffIDs,
		"working_dir":   settings.WorkingDir,
		"env":           settings.Env,
		"entrypoint":    settings.Entrypoint,
		"command":       settings.Cmd,
		"volumes":       settings.Volumes,
		"exposed_ports": settings.ExposedPorts,
	}
}
