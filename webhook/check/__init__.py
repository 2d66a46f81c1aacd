"""`nonroot check`: files -> findings, each with its line, judged as the webhook would judge them."""
