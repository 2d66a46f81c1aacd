FROM scratch
RUN ["/bin/cat", "<<EOF"]
USER 7
