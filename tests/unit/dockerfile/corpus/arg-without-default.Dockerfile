FROM scratch
ARG RUNAS
USER ${RUNAS:-65532}
COPY app /
CMD ["/app"]
