"""What every rule has in common."""
