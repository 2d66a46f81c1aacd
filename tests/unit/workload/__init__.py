"""Tests of webhook.workload."""
