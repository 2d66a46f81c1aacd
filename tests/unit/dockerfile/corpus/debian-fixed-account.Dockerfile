FROM debian:12-slim
RUN addgroup --gid 1001 app \
    && adduser --uid 1001 --gid 1001 --no-create-home --shell /bin/false --disabled-password --gecos "" app
USER app:app
CMD ["sleep", "infinity"]
