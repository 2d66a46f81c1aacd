"""The kubelet as the reference: who a container will be, asked of a model and of a real node."""
