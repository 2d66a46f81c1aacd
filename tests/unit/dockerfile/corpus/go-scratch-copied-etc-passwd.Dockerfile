FROM golang:1.23-alpine AS build
RUN adduser -D -H -u 10001 -s /sbin/nologin svc
RUN go build -o /svc .
FROM scratch
COPY --from=build /etc/passwd /etc/group /etc/
COPY --from=0 /svc /svc
USER svc:svc
ENTRYPOINT ["/svc"]
