"""Tests of webhook.registry.transport."""
