FROM scratch AS broken
USER ${X:?never asked}
FROM scratch
USER 12
