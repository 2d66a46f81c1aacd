"""The cluster of deploy/kind, where Docker Hub is out of reach."""
