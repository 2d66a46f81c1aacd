"""Tests of webhook.check.practices."""
