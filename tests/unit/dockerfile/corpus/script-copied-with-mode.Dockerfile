FROM alpine:3.20
USER 10001
COPY --chmod=755 run.sh /run.sh
CMD ["/run.sh"]
