"""Tests of webhook.policy."""
