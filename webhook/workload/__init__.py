"""What Kubernetes is asked to run: Pod specs, templates and what a Pod's status reports. No I/O."""
