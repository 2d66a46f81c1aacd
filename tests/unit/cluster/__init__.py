"""Tests of webhook.cluster."""
