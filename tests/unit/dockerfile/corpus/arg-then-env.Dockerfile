FROM scratch
ARG WHO=arg
ENV WHO=env
USER $WHO
