"""The handling of an AdmissionReview: early exits, evaluation, the mode, retries and the response. No I/O."""
