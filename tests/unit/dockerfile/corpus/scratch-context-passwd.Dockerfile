FROM scratch
COPY passwd /etc/passwd
COPY server /
USER svc
ENTRYPOINT ["/server"]
