FROM scratch
ENV WHO=1500
USER \
  ${WHO}
