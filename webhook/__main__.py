"""`python -m webhook` is `nonroot`."""

from webhook.cli.main import main

main(prog_name="nonroot")
