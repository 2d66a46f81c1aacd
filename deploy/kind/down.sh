#!/usr/bin/env bash
# End what up.sh started: the cluster "nonroot" and its registry, nothing else.
set -euo pipefail

kind delete cluster --name nonroot
if docker container inspect nonroot-registry >/dev/null 2>&1; then
  docker rm --force --volumes nonroot-registry
fi
