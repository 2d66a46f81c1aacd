"""The admission server: HTTPS for the API server's reviews, plain HTTP for probes and metrics."""
