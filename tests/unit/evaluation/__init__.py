"""Tests of webhook.evaluation."""
