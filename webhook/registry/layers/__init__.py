"""What a layer says: decompression, tar entries, whiteouts, owners and permissions."""
