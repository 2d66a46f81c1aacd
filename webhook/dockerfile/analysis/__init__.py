"""The analysis of a Dockerfile's steps: a user's uid, and the paths that the user may write to."""
