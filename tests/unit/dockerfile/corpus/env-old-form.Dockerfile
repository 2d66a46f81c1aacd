FROM scratch
ENV RUN_AS   app user
USER $RUN_AS
