"""Real images, built with buildah from real Dockerfiles, for the end-to-end tests."""
