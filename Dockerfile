FROM node:22-bookworm-slim AS app
WORKDIR /raidhall
COPY clients clients
RUN npm --prefix clients/typescript ci --no-audit --no-fund \
    && npm --prefix clients/typescript run build \
    && npm --prefix clients/web ci --no-audit --no-fund \
    && npm --prefix clients/web run build

FROM rust:1.95-bookworm AS build
# `--build-arg FEATURES=otel` builds with OpenTelemetry traces.
ARG FEATURES=
# `--build-arg COMMIT=$(git rev-parse --short=12 HEAD)` makes `raidhall --version` show the commit.
ARG COMMIT=
# The symbols stay in this stage: `docker build --target build` keeps them in /raidhall.debug.
WORKDIR /raidhall
COPY . .
COPY --from=app /raidhall/clients/web/dist clients/web/dist
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/raidhall/target \
    RAIDHALL_COMMIT=$COMMIT cargo build --release --locked --features "$FEATURES" --bin raidhall \
    && objcopy --only-keep-debug target/release/raidhall /raidhall.debug \
    && objcopy --strip-all --add-gnu-debuglink=/raidhall.debug target/release/raidhall /usr/local/bin/raidhall

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/raidhall --create-home raidhall
COPY --from=build /usr/local/bin/raidhall /usr/local/bin/raidhall
USER raidhall
WORKDIR /var/lib/raidhall
VOLUME /var/lib/raidhall
# The image's defaults are in a file, so that PORT, DATABASE_URL and `--config FILE` override them. The
# health check reads this file and the environment, not the file of `--config`.
COPY config/image.toml /etc/raidhall/raidhall.toml
ENV RAIDHALL_CONFIG=/etc/raidhall/raidhall.toml
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s CMD ["raidhall", "health"]
# On SIGTERM the server hands its raids over and then exits: give it time before you kill it.
STOPSIGNAL SIGTERM
ENTRYPOINT ["raidhall"]
CMD ["serve"]
