"""The check of files: findings with their lines, evaluated as the webhook would evaluate them."""
