FROM debian:12-slim
RUN useradd -o -u 0 toor
USER toor
RUN apt-get update && apt-get install -y curl
