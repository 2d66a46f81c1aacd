"""`python -m webhook` is `nonroot`."""

from webhook.cli import main

main(prog_name="nonroot")
