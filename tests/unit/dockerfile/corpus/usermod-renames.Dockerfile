FROM debian:12-slim
RUN useradd -u 3001 old
RUN usermod -l new old
USER new
