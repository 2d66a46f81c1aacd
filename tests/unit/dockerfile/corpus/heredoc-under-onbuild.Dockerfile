FROM alpine:3.20 AS base
ONBUILD RUN <<EOF
echo hi
USER bad
EOF
FROM base
USER 6000
