"""The contents of layers: decompression, tar entries, whiteouts, owners and permissions."""
