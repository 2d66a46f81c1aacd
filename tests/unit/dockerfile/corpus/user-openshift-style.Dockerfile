FROM registry.access.redhat.com/ubi9/ubi-minimal:9.4
RUN mkdir -p /data && chgrp -R 0 /data && chmod -R g=u /data
USER 1001:0
VOLUME /data
