FROM debian:12-slim
RUN useradd -u 3700 app && userdel app
USER app
