"""Tests of webhook.scan.html."""
