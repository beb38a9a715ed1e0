# The gateway alone: what builds it stays in the first stage, and it runs as nobody in particular.
#   docker build -t nulpoint . && docker run --env-file .env -p 127.0.0.1:8080:8080 nulpoint
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
WORKDIR /build
COPY requirements/build.txt requirements/run.txt requirements/
# pip is of no use to the gateway: it installs from outside.
RUN python -m venv --without-pip /opt/nulpoint \
    && python -m venv /opt/tools \
    && /opt/tools/bin/pip --python /opt/nulpoint/bin/python install --no-cache-dir --only-binary :all: --require-hashes -r requirements/run.txt \
    && /opt/tools/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements/build.txt
# botocore describes all of AWS's services, in 25 MB; finding credentials takes these.
RUN find /opt/nulpoint/lib/python3*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d \
    ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -r {} +
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir wheels . \
    && /opt/tools/bin/pip --python /opt/nulpoint/bin/python install --no-cache-dir --no-deps wheels/*.whl

FROM python:${PYTHON}-slim
COPY --from=build /opt/nulpoint /opt/nulpoint
COPY docker/healthcheck.py /opt/healthcheck.py
ENV PATH=/opt/nulpoint/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0
# config.yaml, if any, is mounted here.
WORKDIR /app
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=10s --retries=3 CMD ["python", "/opt/healthcheck.py"]
ENTRYPOINT ["nulpoint"]
CMD ["serve"]
