"""Cipher suites of TLS 1.2 that may be chosen: authenticated encryption with forward secrecy (RFC 9325, 4.2).

Named as IANA and Kubernetes name them. Those of TLS 1.3 are all safe, and Python's ssl has no choice of them.
"""

CIPHER_SUITES = {
    f"TLS_ECDHE_{key}_WITH_{name}": f"ECDHE-{key}-{openssl}"
    for key in ("ECDSA", "RSA")
    for name, openssl in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
    )
}
"""OpenSSL's name of each."""
