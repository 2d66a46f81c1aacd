"""Which policy applies where: NonRootPolicy and NonRootException, their selection, exemptions and status. No I/O."""
