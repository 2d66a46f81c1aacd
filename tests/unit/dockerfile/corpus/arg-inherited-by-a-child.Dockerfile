FROM scratch AS base
ARG WHO=arg
FROM base
USER $WHO
