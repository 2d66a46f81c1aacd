"""The parser of Dockerfiles: a text's instructions, as BuildKit parses them."""
