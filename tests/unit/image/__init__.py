"""Tests of webhook.image."""
