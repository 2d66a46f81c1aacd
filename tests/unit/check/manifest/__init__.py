"""Tests of webhook.check.manifest."""
