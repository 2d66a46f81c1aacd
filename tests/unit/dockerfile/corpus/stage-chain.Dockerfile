FROM debian:12-slim AS os
RUN useradd -u 3333 runner
FROM os AS deps
USER runner
FROM deps AS test
USER root
FROM deps AS final
CMD ["/bin/true"]
