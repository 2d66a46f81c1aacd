FROM debian:12-slim
RUN ["useradd", "--uid=3600", "app"]
USER app
