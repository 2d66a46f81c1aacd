FROM scratch
COPY <<EOF /etc/passwd
root:x:0:0:root:/:/none
svc:x:20001:20001::/:/none
EOF
COPY server /
USER svc
ENTRYPOINT ["/server"]
