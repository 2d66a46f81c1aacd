ARG FLAVOUR=full
FROM alpine:3.20 AS base-full
USER 1111
FROM debian:12-slim AS base-small
USER 2222
FROM base-${FLAVOUR}
CMD ["x"]
