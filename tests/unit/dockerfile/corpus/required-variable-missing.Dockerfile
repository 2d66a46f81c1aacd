FROM scratch
USER ${WHO:?say who}
