"""What is done to an installed release, and what its users notice: wrong verdicts, lost admissions, waits, recovery."""
