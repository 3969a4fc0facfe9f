# One target per image: docker build --target coordinator -t mlmodelscope/coordinator:0.1.0 .
# `docker compose build` builds them all.

FROM python:3.11-slim-bookworm AS base
# The status endpoints listen beyond loopback, or nobody outside the container could ask them.
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    MLMS_STATUS=0.0.0.0:7400
RUN useradd --uid 10001 --create-home mlms
COPY . /src
RUN pip install '/src[secure]'
USER mlms
WORKDIR /home/mlms
EXPOSE 7400
# Rarely, because each look starts a Python on cores that may be measuring; never through a proxy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:7400/healthz', timeout=5)"]

# Entry points are lists, so that no shell stands between us and SIGTERM: a service drains on it.
FROM base AS coordinator
ENTRYPOINT ["mlmodelscope", "coordinator"]

FROM base AS collector
USER root
RUN pip install '/src[otlp]'
USER mlms
ENTRYPOINT ["mlmodelscope", "collector"]

FROM base AS node-onnxruntime
USER root
# The folders exist here, and are ours, so that a new volume mounted there is ours too.
RUN pip install '/src[onnxruntime]' \
    && install --directory --owner=mlms --group=mlms \
        /var/cache/mlmodelscope /var/lib/mlmodelscope
ENV MLMS_CACHE=/var/cache/mlmodelscope \
    MLMS_HOME=/var/lib/mlmodelscope
USER mlms
ENTRYPOINT ["mlmodelscope", "node"]

FROM base AS web
USER root
RUN pip install '/src[view]' \
    && install --directory --owner=mlms --group=mlms --mode=700 /var/lib/mlmodelscope
ENV MLMS_WEB_HOST=0.0.0.0 \
    MLMS_WEB_TOKENS=/var/lib/mlmodelscope/tokens
USER mlms
EXPOSE 7480
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:7480/healthz', timeout=5)"]
ENTRYPOINT ["mlmodelscope", "web", "--make-token"]
