"""Tests of webhook.dockerfile.parser."""
