FROM alpine:3.20
RUN apk add --no-cache \
    # USER root would be a comment here
    curl \

    # and an empty line above
    git && \
    adduser -D -u 2000 app
USER \
  # still a comment
  app
