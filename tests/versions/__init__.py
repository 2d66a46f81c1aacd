"""The tests that a version of Kubernetes or containerd can change, on every version that users run, and what came of each."""
