FROM scratch AS base
ONBUILD USER 1
FROM base AS middle
FROM middle
USER 2
