FROM alpine:3.20
USER ${WHO:?say who}
