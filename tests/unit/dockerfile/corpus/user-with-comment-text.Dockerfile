FROM scratch
USER 1000 # the app
