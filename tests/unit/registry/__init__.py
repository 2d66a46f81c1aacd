"""The registry client, module by module, against an in-memory registry that can lie."""
