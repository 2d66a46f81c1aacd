"""Tests of webhook.registry.layers."""
