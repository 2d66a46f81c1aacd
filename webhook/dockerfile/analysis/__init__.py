"""What the steps make evident: a user's uid, the paths that he may write to."""
