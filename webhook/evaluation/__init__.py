"""Workload + images + policy -> findings, verdict and JSON Patch: the one evaluation behind every command. No I/O."""
