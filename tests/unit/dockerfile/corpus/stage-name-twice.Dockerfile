FROM scratch AS one
USER 1
FROM scratch AS one
USER 2
FROM one
