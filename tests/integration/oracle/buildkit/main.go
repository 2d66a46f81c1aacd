// Says which USER BuildKit would write into the config of the image that a Dockerfile builds.
//
// One JSON question a line on standard input, one JSON answer a line on standard output. Nothing is built and nothing
// is fetched: every base image has the config that the question gives it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerui"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

const lineLimit = 16 << 20

type question struct {
	Text      string            `json:"text"`
	Target    string            `json:"target"`
	BuildArgs map[string]string `json:"build_args"`
	Base      base              `json:"base"`
}

type base struct {
	User       string   `json:"user"`
	Env        []string `json:"env"`
	WorkingDir string   `json:"working_dir"`
	OnBuild    []string `json:"onbuild"`
}

type answer struct {
	User       string   `json:"user"`
	WorkingDir string   `json:"working_dir"`
	Env        []string `json:"env"`
	Error      string   `json:"error"`
}

// ResolveImageConfig gives every reference the same config, so that no registry is asked.
func (b base) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	var image dockerspec.DockerOCIImage
	image.OS, image.Architecture = "linux", "amd64"
	image.Config.User, image.Config.Env = b.User, b.Env
	image.Config.WorkingDir, image.Config.OnBuild = b.WorkingDir, b.OnBuild
	image.RootFS = ocispecs.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromString("layer")}}
	config, err := json.Marshal(image)
	return ref, "", config, err
}

func ask(q question) (a answer) {
	defer func() {
		if fault := recover(); fault != nil {
			a = answer{Error: fmt.Sprintf("panic: %v", fault)}
		}
	}()
	platform := ocispecs.Platform{OS: "linux", Architecture: "amd64"}
	_, image, _, _, err := dockerfile2llb.Dockerfile2LLB(context.Background(), []byte(q.Text), dockerfile2llb.ConvertOpt{
		Config: dockerui.Config{
			BuildArgs:      q.BuildArgs,
			Target:         q.Target,
			BuildPlatforms: []ocispecs.Platform{platform},
		},
		TargetPlatform: &platform,
		MetaResolver:   q.Base,
	})
	if err != nil {
		return answer{Error: err.Error()}
	}
	config := image.Config
	return answer{User: config.User, WorkingDir: config.WorkingDir, Env: config.Env}
}

func main() {
	questions := bufio.NewScanner(os.Stdin)
	questions.Buffer(nil, lineLimit)
	answers := json.NewEncoder(os.Stdout)
	for questions.Scan() {
		var q question
		if err := json.Unmarshal(questions.Bytes(), &q); err != nil {
			fmt.Fprintln(os.Stderr, "oracle-buildkit: a line is no question:", err)
			os.Exit(1)
		}
		if err := answers.Encode(ask(q)); err != nil {
			fmt.Fprintln(os.Stderr, "oracle-buildkit: cannot answer:", err)
			os.Exit(1)
		}
	}
	if err := questions.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "oracle-buildkit: cannot read:", err)
		os.Exit(1)
	}
}
