"""Dockerfile text -> instructions, as BuildKit parses them."""
