"""The registry client: it reads an image's config and accounts files by the image's reference.

`client` answers queries and caches the answers; `resolver` knows which digest a reference stands for, `endpoints` where and as
whom that is asked; `repository` asks one repository, and `content_store` reads what a digest holds: its `manifest`, its
config, and by `layers`, off the event loop, its files. `auth` finds credentials and tokens; `transport` alone opens
connections. `fallback` answers from stored identities while a registry does not; `layout` and `local_store` read images that
are on this machine.

What an operator configures is in `settings`; `config_file` and `certs_d` read it from `files`.
"""
