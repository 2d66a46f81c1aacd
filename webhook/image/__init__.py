"""What an image is and whom it runs as: references, manifests, configs, /etc/passwd, ImageIdentity. No I/O."""
