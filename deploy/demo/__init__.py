"""`make run`: the real server, real images and the API server's own kind of reviews, on loopback and nothing else."""
