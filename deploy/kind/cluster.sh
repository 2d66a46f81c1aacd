#!/usr/bin/env bash
# A kind cluster with a registry beside it, and nothing of ours in it: the half of up.sh that the tests need too.
#
#   eval "$(deploy/kind/cluster.sh)" && make test
#
# NODES=2 for another number of nodes than three; KUBERNETES=1.35 for one of the versions, with their images' digests, that
# .github/workflows/test.yml lists; KIND_IMAGE=… for any other image of a node, REGISTRY_IMAGE=… of a registry.
# Prints KUBECONFIG, and NONROOT_REGISTRY: the registry at the address that this machine has in kind's network, so that
# the machine, nodes and Pods all reach it there (on Linux). What is there already is used.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cluster=nonroot
registry=nonroot-registry # the container, and its name for nodes and Pods: Docker's DNS answers both
port=5000
push=5001 # the same registry, on this machine's loopback

if [ -n "${KUBERNETES:-}" ]; then
  versions=$here/../../.github/workflows/test.yml
  version=$(sed -n "s/^ *- \(v${KUBERNETES//./\\.}\.[0-9]*@sha256:[0-9a-f]*\)$/\1/p" "$versions")
  if [ -z "$version" ]; then
    echo "KUBERNETES=$KUBERNETES is not among the versions of $versions: set KIND_IMAGE instead" >&2
    exit 1
  fi
  KIND_IMAGE=kindest/node:$version
fi
if ! kind get clusters | grep -qx "$cluster"; then
  {
    cat "$here/cluster.yaml"
    for ((node = 2; node <= ${NODES:-3}; node++)); do echo "  - role: worker"; done
  } | kind create cluster --retain --config - --wait 180s ${KIND_IMAGE:+--image "$KIND_IMAGE"} >&2 || {
    # kubeadm says only that nobody answers; why is in the logs of what it waits for.
    for node in $(kind get nodes --name "$cluster"); do
      docker exec "$node" sh -c 'tail -n 20 /var/log/pods/*/*/*.log; journalctl --no-pager --lines 20 --unit kubelet' >&2 || true
    done
    kind delete cluster --name "$cluster" >&2
    exit 1
  }
fi
for address in $(docker network inspect kind --format '{{range .IPAM.Config}}{{.Gateway}} {{end}}'); do
  case $address in *.*) break ;; esac # not the IPv6 one
done
if ! docker container inspect "$registry" >/dev/null 2>&1; then
  docker run --detach --restart=always --name "$registry" --network kind \
    --publish "127.0.0.1:$push:$port" --publish "$address:$port:$port" "${REGISTRY_IMAGE:-registry:2.8.3}" >&2
fi

for node in $(kind get nodes --name "$cluster"); do
  for name in "$registry:$port" "$address:$port"; do
    docker exec "$node" mkdir -p "/etc/containerd/certs.d/$name"
    docker exec --interactive "$node" tee "/etc/containerd/certs.d/$name/hosts.toml" >/dev/null <<TOML
[host."http://$name"]
  capabilities = ["pull", "resolve"]
TOML
  done
done

kubeconfig=${XDG_CACHE_HOME:-$HOME/.cache}/nonroot-webhook/kind.kubeconfig
mkdir -p "$(dirname "$kubeconfig")"
(umask 077 && kind get kubeconfig --name "$cluster" >"$kubeconfig.new")
mv "$kubeconfig.new" "$kubeconfig" # whole at any time: somebody may be using it
# kind waits for the control plane only. Without names no Pod finds the registry, and the webhook reads no image.
kubectl --context "kind-$cluster" --namespace kube-system rollout status deployment/coredns --timeout 300s >&2
echo "export KUBECONFIG='$kubeconfig' NONROOT_REGISTRY='$address:$port'"
