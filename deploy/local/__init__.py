"""A real Kubernetes cluster on this machine, without Docker and without images from the internet.

Read `cluster.py` first: it is the order in which things start and end.
Each other module is one thing that it starts, or one idea that they share.
"""
