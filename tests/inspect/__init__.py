"""Tests of webhook.inspect."""
