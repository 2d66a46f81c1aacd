"""AdmissionReview in, AdmissionReview out: early exits, the mode, retries. No I/O."""
