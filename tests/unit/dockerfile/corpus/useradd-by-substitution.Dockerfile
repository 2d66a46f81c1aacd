FROM debian:12-slim
RUN useradd --uid "$(cat /uid)" app
USER app
