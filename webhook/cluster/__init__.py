"""The Kubernetes API: the one client, watches, the write queue, Secrets, Events, stored ImageIdentity objects."""
