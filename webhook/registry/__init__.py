"""The registry client: it reads an image's config and accounts files by the image's reference.

`client` is asked, and keeps answers; `confirmations` knows what a reference stands for, `endpoints` where and as whom that is
asked; `repository` asks one repository; `exchange`, `auth`, `realms`, `keychain`, `addresses`, `documents`, `platforms`,
`archive` and `rootfs` are rules without I/O; `transport` is the one module that opens a connection, as `gate` and `trust` let
it; `layers` reads blobs off the event loop; `cache` remembers.

What an operator configures is `configuration`, of `files`: `hosts` reads containerd's host files, `helpers` docker
configs and their helpers, `providers` the kubelet's credential providers, whose `programs` are run within bounds.
"""
