"""Dockerfiles: parser and evaluation against BuildKit itself, rules and table by cases."""
