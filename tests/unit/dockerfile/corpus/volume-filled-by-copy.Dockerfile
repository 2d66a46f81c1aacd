FROM redis:7
COPY dump.rdb /data/
VOLUME /data
USER 999
