"""Images and whom they run as: references, configs, USER, /etc/passwd, ImageIdentity objects. No I/O."""
