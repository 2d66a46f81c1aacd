FROM scratch
ENV WHO=env
ARG WHO=arg
USER $WHO
