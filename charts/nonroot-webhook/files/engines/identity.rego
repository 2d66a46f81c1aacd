package nonrootidentity

# A container that says no uid is whoever its image says: the provider is asked for all of them at once.
violation[{"msg": msg}] {
  container := evaluated[_]
  user(container) == 0
  msg := sprintf("container %v: its runAsUser is 0, which is root: write a uid above 0", [container.name])
}

violation[{"msg": msg}] {
  container := asked[_]
  msg := sprintf("container %v: image %v: %v", [container.name, container.image, fault(container)])
}

# The first that holds. An image of which nothing is known may run where the kubelet refuses root.
fault(container) = sprintf("it runs as root: rebuild it with another USER, or write securityContext.runAsUser", []) {
  identities[key(container)].root == true
} else = sprintf("who it runs as is not known: %v; write securityContext.runAsUser, or securityContext.runAsNonRoot: true", [why]) {
  why := unknown(container)
  not non_root(container)
} else = sprintf("its USER is a name, which the kubelet refuses beside runAsNonRoot: write securityContext.runAsUser: %v", [uid]) {
  non_root(container)
  identities[key(container)].verifiable == false
  uid := identities[key(container)].runAsUser
  uid != null
}

unknown(container) = why { why := errors[key(container)] }
else = why { not identities[key(container)]; why := response.system_error; why != "" }
else = sprintf("the provider answered with status %v", [response.status_code]) { not identities[key(container)] }
else = concat("; ", problems) {
  identities[key(container)].root == null
  problems := sort({each.problem | each := identities[key(container)].platforms[_]; each.problem != ""})
  count(problems) > 0
}
else = "it has nothing for the nodes" { identities[key(container)].root == null }

identities[found] = value { [found, value] := response.responses[_] }
errors[found] = why { [found, why] := response.errors[_] }

response := external_data({"provider": "PROVIDER", "keys": keys}) { count(keys) > 0 }
keys := sort({key(container) | container := asked[_]})

# An object, so that nobody can write an image that asks for another namespace.
key(container) = json.marshal({
  "image": container.image,
  "namespace": input.review.namespace,
  "pullSecrets": [secret.name | secret := input.review.object.spec.imagePullSecrets[_]],
})

asked[container] { container := evaluated[_]; not has_user(container) }

# New containers, and those with another image: a Pod that was there before keeps what it has.
evaluated[container] { container := input.review.object.spec[lists[_]][_]; not former(container) }
former(container) { old := input.review.oldObject.spec[lists[_]][_]; old.name == container.name; old.image == container.image }
lists := ["containers", "initContainers", "ephemeralContainers"]

has_user(container) { user(container) >= 0 }
user(container) = effective(container, "runAsUser")
non_root(container) { effective(container, "runAsNonRoot") == true }
effective(container, field) = value { value := container.securityContext[field] }
else = value { value := input.review.object.spec.securityContext[field] }
