"""Benchmarks: the whole product beside a peer, in one run, as ratios. Only worth something on a quiet machine."""
