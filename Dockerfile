# The image of both services and of every `ordering` command.
# It keeps to what every builder understands: no cache mounts, no here-documents, no frontend line.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# Dependencies first: this layer is built anew only when the lock changes. The virtual environment has no pip of its
# own, and its bytecode is never compared with the sources: both are read-only in a running container.
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/ordering \
    && pip --python /opt/ordering/bin/python install --no-compile --no-deps --require-hashes -r requirements.lock \
    && /opt/ordering/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/ordering/lib

# The build backend, at the versions and hashes of the development lock, outside the environment that is shipped.
COPY requirements-dev.lock ./
RUN awk '/^[a-z]/ { wanted = /^(hatchling|packaging|pathspec|pluggy|trove-classifiers)==/ } wanted' requirements-dev.lock \
        > build.lock \
    && pip install --no-deps --require-hashes -r build.lock

# The project as a wheel, so that the linked schemas become files of the package.
COPY LICENSE README.md pyproject.toml ./
COPY schemas schemas
COPY src src
RUN pip wheel --no-build-isolation --no-deps --wheel-dir dist . \
    && pip --python /opt/ordering/bin/python install --no-compile --no-deps --no-index dist/*.whl \
    && /opt/ordering/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        "$(/opt/ordering/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ordering"


FROM ${PYTHON_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ordering" \
      org.opencontainers.image.description="Event-driven order management: takes orders, never loses their events, shows them in order." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# Only the embedded mode and SQLite stores write to /data; a volume mounted there gets its owner from here.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin ordering \
    && install -d -o 10001 -g 10001 -m 0700 /data
COPY --from=builder /opt/ordering /opt/ordering
ENV PATH=/opt/ordering/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORDERING_DATA_DIR=/data \
    API_HOST=0.0.0.0
WORKDIR /data

# By number, so that an orchestrator can see that this is not root.
USER 10001:10001
EXPOSE 8000 8001
STOPSIGNAL SIGTERM

# Alive is whoever answers on the service's port. Plain http.client: it takes a few milliseconds, loads nothing of the
# application and follows no proxy setting.
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 CMD ["python", "-I", "-S", "-c", \
    "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('API_PORT', '8000')), timeout=3); c.request('GET', '/health/live'); sys.exit(c.getresponse().status >= 500)"]

ENTRYPOINT ["ordering"]
CMD ["--help"]
