"""The registry client: an image reference in, what its config and accounts files say out.

`client` is the door; `repository` asks one repository with one credential; `exchange`, `auth`, `keychain`, `addresses`,
`documents`, `platforms`, `archive` and `rootfs` are rules without I/O; `transport` is the one module that opens a
connection; `layers` reads blobs off the event loop; `cache` remembers.
"""
