"""Tests of webhook.cli.output."""
