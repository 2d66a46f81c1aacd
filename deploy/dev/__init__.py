"""Helpers of development and tests: images to try things with, and a registry to serve them."""
