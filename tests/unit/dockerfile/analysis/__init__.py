"""Tests of webhook.dockerfile.analysis."""
