"""Tests on a real cluster, whichever it is."""
