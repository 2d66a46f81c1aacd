"""Whether the tests notice: mutmut changes one thing at a time in the code that decides (`make test-mutants`)."""
