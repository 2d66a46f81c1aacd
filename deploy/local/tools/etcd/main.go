// The etcd that kubeadm knows how to start and to ask after, as its own main package has it.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
