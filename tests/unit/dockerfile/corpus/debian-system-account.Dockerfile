FROM debian:12-slim
RUN addgroup --system app && adduser --system --group app
WORKDIR /srv/app
COPY --chown=app:app bin/ ./bin/
USER app
CMD ["./bin/run"]
