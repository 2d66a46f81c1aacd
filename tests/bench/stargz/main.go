// A layer's tar archive, compressed or not -> the same as an eStargz layer, by its authors' own library.
//
//	stargz TAR OUTPUT
package main

import (
	"io"
	"log"
	"os"

	"github.com/containerd/stargz-snapshotter/estargz"
)

func main() {
	tar, err := os.Open(os.Args[1])
	check(err)
	info, err := tar.Stat()
	check(err)
	blob, err := estargz.Build(io.NewSectionReader(tar, 0, info.Size()))
	check(err)
	out, err := os.Create(os.Args[2])
	check(err)
	_, err = io.Copy(out, blob)
	check(err)
	check(blob.Close())
	check(out.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
