"""Tests of webhook.http."""
