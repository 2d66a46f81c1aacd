FROM alpine:3.20
COPY --owner=app a /b
USER 1
