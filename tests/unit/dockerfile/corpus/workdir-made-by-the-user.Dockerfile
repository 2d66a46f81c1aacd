FROM alpine:3.20
USER 10001
WORKDIR /work
RUN touch state && mkdir -p cache/a
