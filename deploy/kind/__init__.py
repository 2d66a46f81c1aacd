"""A kind cluster with the webhook installed: with Docker Hub by the scripts alone, without it by images that are made here."""
