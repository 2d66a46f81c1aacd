"""Policies and exceptions: their types, which one applies where, exemptions and status. No I/O."""
