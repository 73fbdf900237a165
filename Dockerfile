# A clone with its environment: `docker build --tag aso-se .`, then `docker run --volume /shared/cache:/cache aso-se`.
# torch comes with CUDA; `docker run --gpus all` uses it. For smaller wheels without, name an index that has them:
# `docker build --build-arg UV_INDEX=... --build-arg UV_NO_VERIFY_HASHES=1 .`
ARG PYTHON=3.12
FROM python:${PYTHON}-slim
RUN apt-get update && apt-get install --yes --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
WORKDIR /aso-se
COPY . .
ARG UV_INDEX UV_NO_VERIFY_HASHES
RUN make install
RUN .venv/bin/dvc cache dir --local /cache
ENV PATH=/aso-se/.venv/bin:$PATH
CMD ["make", "run"]
