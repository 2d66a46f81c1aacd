# syntax=docker/dockerfile:1.9
# check=skip=all
ARG PYTHON=3.12.7
FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /app
RUN --mount=type=bind,source=requirements.txt,target=requirements.txt \
    --mount=type=cache,target=/root/.cache/pip \
    pip install --target=/deps -r requirements.txt
FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="clean"
COPY --link --from=build /deps /deps
COPY --link src /app
ENV PYTHONPATH=/deps
STOPSIGNAL SIGTERM
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
HEALTHCHECK CMD ["python", "-c", "pass"]
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["python", "/app/main.py"]
