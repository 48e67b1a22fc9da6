# syntax=docker/dockerfile:1
# CPU by default; `docker build --build-arg GPU=1 .` for a CUDA build (the host brings the driver),
# `--build-arg OPENVINO=1` for OpenVINO beside TensorFlow. It runs with a read-only root file system:
# `docker run --read-only --tmpfs /tmp …`. Pin the base by digest: `--build-arg PYTHON=3.12-slim-bookworm@sha256:…`.
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
ARG GPU=0
ARG OPENVINO=0
WORKDIR /build
RUN python -m venv /opt/pathserve
COPY requirements.lock requirements-gpu.lock requirements-openvino.lock ./
RUN lock=requirements.lock \
 && if [ "$GPU" = 1 ]; then lock=requirements-gpu.lock; fi \
 && if [ "$OPENVINO" = 1 ]; then lock=requirements-openvino.lock; fi \
 && /opt/pathserve/bin/pip install --no-cache-dir --require-hashes --only-binary=:all: -r "$lock"
COPY LICENSE README.md pyproject.toml ./
COPY serving serving
COPY model model
COPY dicom_io dicom_io
RUN /opt/pathserve/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/pathserve/bin/pip uninstall --yes pip

FROM python:${PYTHON}
RUN groupadd --gid 10001 pathserve \
 && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin pathserve
COPY --from=build /opt/pathserve /opt/pathserve
ENV PATH=/opt/pathserve/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATHSERVE_HOST=0.0.0.0 \
    PATHSERVE_CACHE_DIR=/tmp/pathserve
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('AIP_HTTP_PORT', '8080') + os.environ.get('AIP_HEALTH_ROUTE', '/health'), timeout=4)"]
ENTRYPOINT ["pathserve"]
CMD ["serve"]
