FROM debian:12-slim
RUN NEW_UID=3500; useradd --uid "$NEW_UID" --shell /bin/sh app
USER app
