# An image with the gateway and nothing else: the build tools stay in the first stage. It runs without privileges.
#   docker build -t nulpoint . && docker run --env-file .env -p 127.0.0.1:8080:8080 nulpoint
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
WORKDIR /build
COPY requirements/build.txt requirements/run.txt requirements/
# The gateway does not need pip, so pip runs from another environment and installs into this one.
RUN python -m venv --without-pip /opt/nulpoint \
    && python -m venv /opt/tools \
    && /opt/tools/bin/pip --python /opt/nulpoint/bin/python install --no-cache-dir --only-binary :all: --require-hashes -r requirements/run.txt \
    && /opt/tools/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements/build.txt
# botocore describes all of AWS's services in 25 MB. Finding credentials needs only these four.
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
# Mount config.yaml here if you have one.
WORKDIR /app
# The user is a number, so that Kubernetes can verify that it is not root.
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=10s --retries=3 CMD ["python", "/opt/healthcheck.py"]
ENTRYPOINT ["nulpoint"]
CMD ["serve"]
