"""The stages and steps of a Dockerfile, as BuildKit dispatches its instructions."""
