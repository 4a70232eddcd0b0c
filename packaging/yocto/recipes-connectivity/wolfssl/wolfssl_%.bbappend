# What pngw's configure looks for in wolfSSL.
EXTRA_OECONF += "--enable-aeskeywrap --enable-alpn --enable-curve25519 --enable-ed25519 --enable-keying-material \
    --enable-opensslall --enable-psk --enable-scrypt --enable-session-ticket --enable-siphash --enable-sni"
