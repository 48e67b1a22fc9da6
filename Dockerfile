# CPU by default; `docker build --build-arg GPU=1 .` for a CUDA build (the host brings the driver),
# `--build-arg OPENVINO=1` for OpenVINO beside TensorFlow. It runs with a read-only root file system:
# `docker run --read-only --tmpfs /tmp …`. Any image with Python 3.11 to 3.13 and its venv can be the base:
# `--build-arg BASE=…`. Pin the usual one by digest: `--build-arg PYTHON=3.12-slim-bookworm@sha256:…`.
ARG PYTHON=3.12-slim-bookworm
ARG BASE=python:${PYTHON}

FROM ${BASE} AS build
ARG GPU=0
ARG OPENVINO=0
WORKDIR /build
RUN python3 -m venv /opt/pathserve
COPY pyproject.toml ./
COPY locks locks
COPY .ci/install-lock .ci/gpu.sed .ci/
RUN case "$GPU$OPENVINO" in \
      00) lock=locks/runtime.lock ;; \
      10) lock=locks/gpu.lock && sed -i -f .ci/gpu.sed pyproject.toml ;; \
      01) lock=locks/openvino.lock ;; \
      *) echo "GPU and OPENVINO are 0 or 1, and not both 1" >&2 && exit 1 ;; \
    esac \
 && .ci/install-lock /opt/pathserve/bin/python "$lock" --no-cache-dir --only-binary=:all:
# What no run opens: headers, a compiler and the symbols that a debugger would show; 0.6 GB of the CPU image.
# hadolint ignore=DL3003,DL3008
RUN cd /opt/pathserve/lib/python3.*/site-packages \
 && rm -rf tensorflow/include clang/native/libclang.so \
 && if command -v strip || { apt-get update && apt-get install -y --no-install-recommends binutils; }; then \
      find tensorflow imagecodecs -name '*.so*' -exec strip --strip-unneeded {} +; \
    else echo "without binutils the symbols stay"; fi \
 && rm -rf /var/lib/apt/lists/*
COPY LICENSE README.md ./
COPY serving serving
COPY model model
COPY dicom_io dicom_io
RUN /opt/pathserve/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/pathserve/bin/pip check \
 && /opt/pathserve/bin/pip uninstall --yes pip

FROM ${BASE}
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
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + (os.environ.get('SAGEMAKER_BIND_TO_PORT') or os.environ.get('AIP_HTTP_PORT') or '8080') + os.environ.get('AIP_HEALTH_ROUTE', '/health'), timeout=4)"]
ENTRYPOINT ["pathserve"]
CMD ["serve"]
