FROM scratch AS base
ONBUILD USR app
FROM base
