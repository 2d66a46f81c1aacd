FROM scratch
ENV N=app
USER "$N"'$N'\$N"a\"b"
