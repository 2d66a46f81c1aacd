"""What several test modules and the demo build on; importable without pytest."""
