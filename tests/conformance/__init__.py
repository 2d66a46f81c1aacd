"""The kubelet as judge: who a container will be, asked of a model and of a real node."""
