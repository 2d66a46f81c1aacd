"""Images as a person at a terminal reaches them: the user's own docker config, the network's proxy, files on disk."""
