"""Annotations of Pods that are read or written here."""

ANNOTATION = "nonroot.dev/injected"


OPENSHIFT_SCC = "openshift.io/scc"


MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
