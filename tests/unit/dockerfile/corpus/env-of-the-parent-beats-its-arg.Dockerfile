FROM scratch AS base
ENV WHO=env
ARG WHO=arg
FROM base
USER $WHO
