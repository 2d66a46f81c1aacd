"""`nonroot fix`: what admission would inject, written into the file, and nothing else in it changed."""
