"""What deploy/ holds, started as processes; other programs are recorders."""
