"""Tests of webhook.registry.auth."""
