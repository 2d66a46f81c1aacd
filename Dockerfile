# The image of nonroot-webhook: `docker build .`, or `buildah build .`.
#
# Both bases are arguments, so that the image also builds where Docker Hub is out of reach:
#   docker build --build-arg BUILD_BASE=… --build-arg RUNTIME_BASE=… .
# BUILD_BASE needs python3 (3.11 or later) with the venv module, and strip, or an apt-get that can install it; RUNTIME_BASE
# the same python3 at the same path, and certificate authorities. RUNTIME_BASE needs find and chmod once, and no shell ever.
# Tag and digest are exact, because "slim" alone is a different image next month. Dependabot looks each week for a newer tag,
# or a newer digest of this one, and moves it in deploy/base/Dockerfile; a test fails until both lines here say the same.
# Where this is tested Docker Hub is out of reach, and a Debian made by hand takes its place; so the digest is the one of
# the tag's index that several public repositories state for it, in Dockerfiles of October 2026. `docker buildx imagetools
# inspect python:3.13.16-slim-bookworm` says what it is now.
ARG BUILD_BASE=python:3.13.16-slim-bookworm@sha256:a1165e272e578941b84abc79e4ab38a0305cd12803a5c4247979ac7655f4d641
ARG RUNTIME_BASE=python:3.13.16-slim-bookworm@sha256:a1165e272e578941b84abc79e4ab38a0305cd12803a5c4247979ac7655f4d641

FROM ${BUILD_BASE} AS dependencies

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INPUT=1

# strip is not in Debian's slim images. Only this stage has it.
RUN command -v strip || { apt-get update -qq && apt-get install -qq --no-install-recommends binutils; }

# Two environments: pip lives in the first and installs into the second, which therefore never contains pip or
# setuptools: nothing to remove, nothing for a scanner to find.
RUN python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/nonroot

WORKDIR /src

# Dependencies before sources, in a stage of their own: the slow and large part changes only with the lock file, and a
# node that has it pulls a few hundred kilobytes for a new version. Every file is checked against its hash, and only
# wheels are taken, so nobody's setup.py runs here.
# The two secrets are optional, and absent from a plain build: a pip.conf (a mirror, a proxy, a time-out) and a
# certificate bundle to trust. As secrets they leave no trace in any layer, unlike arguments and copied files:
#   docker build --secret id=pip_conf,src=$HOME/.config/pip/pip.conf --secret id=ca_bundle,src=… .
COPY requirements.txt requirements-build.txt ./
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle \
    /opt/tools/bin/pip --python /opt/nonroot/bin/python install \
        --no-compile --only-binary=:all: --no-deps --require-hashes -r requirements.txt \
    && /opt/tools/bin/pip install --only-binary=:all: --no-deps --require-hashes -r requirements-build.txt

# What only parts of packages import that we do not: the synchronous half of the Kubernetes client, and Rich's highlighting
# and Markdown. Without their metadata, too, so that a scanner finds what is there.
RUN /opt/tools/bin/pip --python /opt/nonroot/bin/python uninstall --quiet --yes \
        certifi charset-normalizer durationpy oauthlib requests requests-oauthlib urllib3 websocket-client \
        markdown-it-py mdurl pygments

# What no running program needs: the packages' own tests, C sources, stubs, activation scripts; of the Kubernetes client
# all but the connection (webhook.cluster.library), because its classes for each kind of object are 20 MB compressed; and
# the debugging information of shared libraries, up to nine tenths of one.
# Then bytecode, once and here: the root file system is read-only where this runs. "unchecked-hash" because a layer
# may change the sources' times, and bytecode with a wrong time would be compiled anew at every start.
RUN find /opt/nonroot/lib -type d \( -name test -o -name tests \) -prune -exec rm -rf {} + \
    && find /opt/nonroot/lib -type f \( -name '*.c' -o -name '*.h' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.pyx' \) -delete \
    && rm -f /opt/nonroot/bin/[Aa]ctivate* \
    && cd /opt/nonroot/lib/python3*/site-packages/kubernetes \
    && find . -type f ! -path ./__init__.py ! -path './aio/config/*' ! -path './aio/utils/*' ! -path './aio/client/*.py' -delete \
    && find . -type f \( -path './aio/client/api/*' -o -path './aio/client/models/*' ! -name __init__.py \) -delete \
    && find /opt/nonroot/lib -type f -name '*.so*' -exec strip --strip-unneeded {} + \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/nonroot/lib


FROM dependencies AS project

# Only the .dockerignore's few files are here to be copied. --root: the same paths, in a tree that holds nothing else.
# The build backend is one of the hashed packages above: nothing is fetched here.
COPY . ./
RUN /opt/tools/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /dist . \
    && /opt/tools/bin/pip --python /opt/nonroot/bin/python install \
        --no-compile --no-deps --no-index --root /project /dist/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /project/opt/nonroot/lib -s /project


FROM ${RUNTIME_BASE}

ARG RUNTIME_BASE
ARG VERSION=0.0.0+unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="nonroot-webhook" \
      org.opencontainers.image.description="The Kubernetes admission webhook that knows who a container will really run as" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${RUNTIME_BASE}"

# Nothing here makes root of whoever starts it, even where nobody forbids privilege escalation. Before the copies, so that
# it is done once for a base; without a shell.
RUN ["find", "/", "-xdev", "-type", "f", "-perm", "/6000", "-exec", "chmod", "a-s", "{}", "+"]

# The official base has no bytecode of the standard library, which every start would compile anew: half of its CPU. Where it
# is there, as in Debian's own Python, nothing is added. What no program imports is left out.
RUN ["python3", "-c", "import compileall, os, re; compileall.compile_dir(os.path.dirname(os.__file__), quiet=1, rx=re.compile('/(ensurepip|idlelib|lib2to3|pydoc_data|site-packages|tkinter|turtledemo)/'))"]

# Owned by root and written by nobody: the process below cannot change its own program.
COPY --from=dependencies /opt/nonroot /opt/nonroot
COPY --from=project /project/opt/nonroot /opt/nonroot

ENV PATH=/opt/nonroot/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# A number, so that the kubelet can verify runAsNonRoot: this image passes its own webhook. 65532 is "nonroot" in
# distroless images; no passwd line is needed.
USER 65532:65532

# 10250 admission (TLS); 8080 health and metrics (plain).
EXPOSE 10250 8080

# For Docker and compose; Kubernetes uses the chart's probes. Python asks, because there is no curl to be patched.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-I", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]

ENTRYPOINT ["nonroot"]
CMD ["serve"]
