FROM debian:bookworm-slim
ARG UID=10001
ARG GID=10001
RUN groupadd -g ${GID} app && useradd -u $UID -g "$GID" -m app
USER ${UID}:${GID}
CMD ["bash"]
