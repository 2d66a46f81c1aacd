"""Tests of webhook.fix."""
