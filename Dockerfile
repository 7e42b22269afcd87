# The service alone: the database, its functions and the Edge Function are the Supabase project's.
#
#   docker build -t threadline . && docker run --env-file .env -p 127.0.0.1:8000:8000 threadline
#
# An exact version. Where a registry answers, add its digest: docker buildx imagetools inspect python:3.13.13-slim-bookworm
FROM python:3.13.13-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# What builds the wheel, and what runs it: both as the locks have it, checked by hash.
COPY api/build.lock api/serve.lock api/
RUN python -m venv /tools && /tools/bin/pip install --require-hashes -r api/build.lock \
    && python -m venv /threadline && /threadline/bin/pip install --require-hashes -r api/serve.lock
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY console console
COPY packages/follow-js packages/follow-js
COPY supabase supabase
RUN /tools/bin/pip wheel --no-deps --no-build-isolation -w dist . \
    && /threadline/bin/pip install --no-deps dist/*.whl \
    && /threadline/bin/pip uninstall -y pip

FROM python:3.13.13-slim-bookworm

RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin threadline
COPY --from=build /threadline /threadline
ENV PATH=/threadline/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8000
# It asks the database too.
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["threadline"]
CMD ["serve", "--host", "0.0.0.0"]
