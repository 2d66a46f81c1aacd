FROM alpine:3.20
RUN adduser -D -u 1500 app
USER app
RUN apk add curl
RUN addgroup extra
