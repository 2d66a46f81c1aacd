"""The HTTP API for policy engines and other programs that ask who the USER of an image is."""
