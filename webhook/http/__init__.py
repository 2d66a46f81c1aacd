"""HTTP of clients: the library, and which proxy a connection goes by."""
