FROM alpine:3.20
RUN apk add --no-cache ca-certificates tini \
 && adduser -D appuser
COPY --chown=appuser server /usr/local/bin/server
USER appuser
ENTRYPOINT ["/sbin/tini", "--", "server"]
