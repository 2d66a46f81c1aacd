"""The handling of an AdmissionReview, without I/O: early exits, evaluation, the mode, retries and the response. No I/O."""
