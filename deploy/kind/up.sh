#!/usr/bin/env bash
# From nothing to a kind cluster with a registry and the webhook enforcing in the namespace "demo".
#
#   deploy/kind/up.sh            NODES=2, KUBERNETES=1.35 (1.30 or later) or KIND_IMAGE=…: see cluster.sh
#   deploy/kind/down.sh          ends all of it
#
# Needs docker, kind, kubectl and helm. What is there already is used, so it can be run again after a change.
# `make kind` runs it: with Docker and Docker Hub in reach as it stands; otherwise with images that are made on this machine and
# given by the names below, in a Docker of its own (deploy/kind/README.md).
#   KIND_IMAGE, REGISTRY_IMAGE   the images of a node and of the registry
#   IMAGE                        a whole image of ours that docker has; or BUILD_BASE and RUNTIME_BASE, as in the Dockerfile
#   DEMO_BASE                    a base with adduser and sleep
#
# What ran: `make test` runs the second way on two nodes, on each of them a named-user Pod under an injected uid and a refused
# root Pod, an upgrade of the chart, and an uninstallation (tests/integration/kind). Three nodes, without this script, are those of
# `make test-kind`: README.md says what ran on them, on which versions and when. The first way has not run where this is
# tested, because Docker Hub is out of reach there: every command is recorded instead (tests/integration/deploy/test_kind.py).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

cluster=nonroot
registry=nonroot-registry:5000 # for nodes and Pods, by Docker's DNS
push=localhost:5001            # the same, for docker on this machine
image=nonroot-webhook
named=demo/named-user:1
root_image=demo/root:1
export DOCKER_BUILDKIT=1 # the Dockerfile mounts secrets, which Docker before 23 cannot without

for program in docker kind kubectl helm; do
  if ! command -v "$program" >/dev/null; then
    echo "$program is needed and not on the PATH; without Docker: make cluster" >&2
    exit 1
  fi
done

"$here/cluster.sh" >/dev/null

# Tagged by its content, so that Helm replaces Pods when, and only when, the image is another one.
if [ -n "${IMAGE:-}" ]; then
  docker tag "$IMAGE" "$image:dev"
else
  docker build --tag "$image:dev" ${BUILD_BASE:+--build-arg "BUILD_BASE=$BUILD_BASE"} \
    ${RUNTIME_BASE:+--build-arg "RUNTIME_BASE=$RUNTIME_BASE"} "$root"
fi
id=$(docker image inspect --format '{{.Id}}' "$image:dev")
tag=${id#sha256:}
tag=${tag:0:12}
docker tag "$image:dev" "$image:$tag"
kind load docker-image "$image:$tag" --name "$cluster"

# Only this cluster, whatever else the user's kubeconfig points at.
context=kind-$cluster
helm upgrade --install nonroot "$root/charts/nonroot-webhook" --kube-context "$context" \
  --namespace nonroot-system --create-namespace --wait --timeout 180s \
  --set-string "image.repository=$image,image.tag=$tag" --set "registry.insecure={$registry}"
# Pods start before the CA is published, so ready replicas are not yet an enforcing webhook.
kubectl --context "$context" wait --timeout 60s --for 'jsonpath={.webhooks[0].clientConfig.caBundle}' \
  validatingwebhookconfiguration/nonroot-webhook mutatingwebhookconfiguration/zz-nonroot-webhook

# What earlier runs have made, by the form of its tag; a node knows an image by several names. What is in use in docker stays.
for old in $(docker image ls --format '{{.Repository}}:{{.Tag}}' "$image"); do
  if [[ $old =~ :[0-9a-f]{12}$ && $old != "$image:$tag" ]]; then docker image rm "$old" || true; fi
done
for node in $(kind get nodes --name "$cluster"); do
  docker exec "$node" ctr --namespace k8s.io images list | awk -v ours="/$image:" -v current="/$image:$tag" '
    { digests[$1] = $3 }
    index($1, ours) && !index($1, current) { old[$3] }
    END { for (name in digests) if (digests[name] in old) print name }
  ' | xargs -r docker exec "$node" ctr --namespace k8s.io images remove
done

for target in root named; do
  reference=$push/$root_image
  [ "$target" = root ] || reference=$push/$named
  docker build --target "$target" --build-arg "BASE=${DEMO_BASE:-busybox:1.36}" --tag "$reference" - <<'DOCKERFILE'
ARG BASE
FROM ${BASE} AS root
USER root
CMD ["sleep", "3600"]
FROM root AS named
RUN adduser -D -u 1000 app || adduser --disabled-password --gecos "" --uid 1000 app
USER app
DOCKERFILE
  docker push "$reference"
done

kubectl --context "$context" create namespace demo --dry-run=client --output yaml |
  kubectl --context "$context" apply --filename -
kubectl --context "$context" label --overwrite namespace demo nonroot.dev/mode=enforce

cat <<NEXT

The namespace "demo" enforces. Try:

  kubectl --context $context -n demo run named --image=$registry/$named \\
    --overrides='{"spec":{"securityContext":{"runAsNonRoot":true}}}'
  kubectl --context $context -n demo get pod named -o jsonpath='{.spec.containers[0].securityContext}'
  kubectl --context $context -n demo run root --image=$registry/$root_image     # refused, and says why

deploy/kind/down.sh ends it.
NEXT
