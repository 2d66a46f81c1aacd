// The oracle for layers: Go's archive/tar lists archives, and containerd's own archive package extracts layers, once the way
// its overlayfs snapshotter does, on a real overlayfs, and once the way snapshotters without overlayfs do, one over the other.
// One JSON object a line on standard input, one answer a line on standard output. It needs root, for the mounts.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/continuity/fs"
)

// Request is an archive to list, or layers to extract, the base first.
type Request struct {
	Archive []byte   `json:"archive"`
	Layers  [][]byte `json:"layers"`
}

// Entry is a tar entry as Go reads it; names may be any bytes.
type Entry struct {
	Type string `json:"type"`
	Name []byte `json:"name"`
	Link []byte `json:"link"`
}

// File is what a path leads to: content, or nothing where `Exists` is false, or an error.
type File struct {
	Exists  bool   `json:"exists"`
	Content []byte `json:"content"`
	Error   string `json:"error"`
}

// Response holds the entries up to the error, if any, or /etc/passwd and /etc/group by either way of extracting.
type Response struct {
	Entries []Entry         `json:"entries"`
	Error   string          `json:"error"`
	Overlay map[string]File `json:"overlay"`
	Native  map[string]File `json:"native"`
}

var paths = []string{"/etc/passwd", "/etc/group"}

func main() {
	work, err := os.MkdirTemp("", "layers")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(work)
	if err := syscall.Mount("tmpfs", work, "tmpfs", 0, ""); err != nil {
		log.Fatal(err)
	}
	defer syscall.Unmount(work, syscall.MNT_DETACH)
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for number := 0; ; number++ {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var request Request
		if err := json.Unmarshal(line, &request); err != nil {
			log.Print(err)
			return
		}
		if err := answers.Encode(respond(request, filepath.Join(work, fmt.Sprint(number)))); err != nil {
			log.Print(err)
			return
		}
	}
}

func respond(request Request, work string) Response {
	if request.Layers == nil {
		return list(request.Archive)
	}
	defer os.RemoveAll(work)
	return Response{Overlay: overlay(request.Layers, work), Native: native(request.Layers, filepath.Join(work, "native"))}
}

func list(data []byte) (found Response) {
	reader := tar.NewReader(bytes.NewReader(data))
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return found
		}
		if err != nil {
			found.Error = err.Error()
			return found
		}
		found.Entries = append(found.Entries, Entry{string(header.Typeflag), []byte(header.Name), []byte(header.Linkname)})
	}
}

func native(layers [][]byte, root string) map[string]File {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return failed(err)
	}
	for _, layer := range layers {
		if err := apply(root, layer); err != nil {
			return failed(err)
		}
	}
	return read(root)
}

func overlay(layers [][]byte, work string) map[string]File {
	var parents []string
	for number, layer := range layers {
		upper := filepath.Join(work, fmt.Sprint("l", number))
		if err := os.MkdirAll(upper, 0o755); err != nil {
			return failed(err)
		}
		var options []archive.ApplyOpt
		if len(parents) > 0 { // the base is extracted through a bind mount
			options = append(options, archive.WithConvertWhiteout(archive.OverlayConvertWhiteout), archive.WithParents(parents))
		}
		if err := apply(upper, layer, options...); err != nil {
			return failed(err)
		}
		parents = append([]string{upper}, parents...)
	}
	if len(parents) == 1 {
		return read(parents[0])
	}
	merged := filepath.Join(work, "merged")
	if err := os.MkdirAll(merged, 0o755); err != nil {
		return failed(err)
	}
	if err := syscall.Mount("overlay", merged, "overlay", 0, "lowerdir="+strings.Join(parents, ":")); err != nil {
		log.Fatal(err)
	}
	defer syscall.Unmount(merged, syscall.MNT_DETACH)
	return read(merged)
}

func apply(root string, layer []byte, options ...archive.ApplyOpt) error {
	_, err := archive.Apply(context.Background(), root, bytes.NewReader(layer), options...)
	return err
}

// read opens the files as containerd 1.7 to 2.1 do: links resolve inside the root.
func read(root string) map[string]File {
	found := map[string]File{}
	for _, path := range paths {
		found[path] = one(root, path)
	}
	return found
}

func one(root, path string) File {
	place, err := fs.RootPath(root, path)
	if err != nil {
		return File{Error: err.Error()}
	}
	info, err := os.Lstat(place)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return File{}
	}
	if err != nil {
		return File{Error: err.Error()}
	}
	if !info.Mode().IsRegular() {
		return File{Error: "not a regular file"}
	}
	content, err := os.ReadFile(place)
	if err != nil {
		return File{Error: err.Error()}
	}
	return File{Exists: true, Content: content}
}

func failed(err error) map[string]File {
	found := map[string]File{}
	for _, path := range paths {
		found[path] = File{Error: err.Error()}
	}
	return found
}
