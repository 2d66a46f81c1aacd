"""`nonroot check`: files -> findings, each with its line, evaluated as the webhook would evaluate them."""
