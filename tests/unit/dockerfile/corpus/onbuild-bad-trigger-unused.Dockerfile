FROM scratch AS base
ONBUILD USR app
USER 13
