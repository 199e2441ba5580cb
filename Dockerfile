# Images of Scalpel; deploy/README.md says how to run them.
#
#   docker build -t scalpel:0.1.0 .                           the server on a CPU
#   docker build -t scalpel:0.1.0-gpu --target gpu .          the same program, with the libraries that a GPU needs
#   docker build -t scalpel:0.1.0-current --target current .  the server on a CPU, with a newer gRPC
#   docker build -t scalpel-edge:0.1.0 --target edge .        nginx in front of several servers
#
# To build from one exact base: --build-arg BASE=debian@sha256:... (CURRENT_BASE for `current`).
ARG BASE=debian:bookworm-slim
ARG CURRENT_BASE=debian:trixie-slim

# --- Building ------------------------------------------------------------------------------------------------------

FROM $BASE AS toolchain
COPY deploy/packages-build.txt /src/deploy/
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive xargs apt-get install -y --no-install-recommends </src/deploy/packages-build.txt \
 && rm -rf /var/lib/apt/lists/*

# Where the server finds libtorch is written into it, so the folder is the same in every stage.
FROM toolchain AS libtorch
COPY deploy/libtorch.sh deploy/requirements-libtorch.txt /src/deploy/
RUN /src/deploy/libtorch.sh /opt/scalpel/libtorch

FROM toolchain AS libtorch-cuda
COPY deploy/libtorch.sh deploy/requirements-libtorch-cuda.txt /src/deploy/
RUN /src/deploy/libtorch.sh --cuda /opt/scalpel/libtorch

FROM libtorch AS build
COPY CMakeLists.txt /src/
COPY proto /src/proto
COPY server /src/server
COPY client/cpp /src/client/cpp
ARG JOBS=2
RUN cmake -G Ninja -S /src -B /build -DSCALPEL_TESTS=OFF -DSCALPEL_LIBTORCH_DIR=/opt/scalpel/libtorch \
 && ninja -C /build -j "$JOBS" scalpel-server scalpel-cli \
 && install -s -D -t /opt/scalpel/bin /build/server/scalpel-server /build/client/cpp/scalpel-cli
# Libraries of headers alone: in the program, though in no package of the image.
RUN dpkg-query -W -f '${Package} ${Version} ${Architecture}\n' librandom123-dev nlohmann-json3-dev >/opt/scalpel/headers.txt

# --- Running -------------------------------------------------------------------------------------------------------

FROM $BASE AS libraries
COPY deploy/packages-runtime.txt /tmp/
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive xargs apt-get install -y --no-install-recommends </tmp/packages-runtime.txt \
 && rm -rf /tmp/packages-runtime.txt /var/lib/apt/lists/* /var/cache/* /var/log/* \
 && find / -xdev -perm /6000 -type f -exec chmod a-s {} +
# Every address of the container: the server then asks for TLS, or for the word that something in front of it keeps others out
# (SCALPEL_ALLOW_INSECURE), and for tokens (SCALPEL_TOKENS).
ENV PATH=/opt/scalpel/bin:/usr/local/bin:/usr/bin:/bin \
    SCALPEL_MODEL=/opt/scalpel/demo-model \
    SCALPEL_LISTEN=0.0.0.0:50051
LABEL org.opencontainers.image.title="Scalpel" \
      org.opencontainers.image.description="GPT-2 under interventions, over gRPC" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.base.name="debian:bookworm-slim"
WORKDIR /
EXPOSE 50051
# SERVING, which it is not while it loads or drains.
HEALTHCHECK --interval=15s --timeout=6s --start-period=120s --retries=3 CMD ["scalpel-server", "--healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["scalpel-server"]

# The bill of materials of both images, made where exactly their Debian packages are installed.
FROM libraries AS sbom
COPY deploy/sbom.sh deploy/requirements-libtorch.txt deploy/requirements-libtorch-cuda.txt /sbom/
COPY --from=build /opt/scalpel/headers.txt /sbom/
ARG SOURCE_DATE_EPOCH
RUN for device in "" -cuda; do \
      /sbom/sbom.sh "/sbom/requirements-libtorch$device.txt" /sbom/headers.txt >"/sbom/scalpel$device.spdx.json" || exit 1; \
    done

FROM libraries AS gpu
COPY --from=libtorch-cuda /opt/scalpel/libtorch/torch/lib /opt/scalpel/libtorch/torch/lib
COPY --from=libtorch-cuda /opt/scalpel/libtorch/nvidia /opt/scalpel/libtorch/nvidia
COPY --from=sbom /sbom/scalpel-cuda.spdx.json /opt/scalpel/sbom.spdx.json
COPY --from=build /opt/scalpel/bin /opt/scalpel/bin
COPY deploy/demo-model /opt/scalpel/demo-model
# What NVIDIA's container toolkit is to bring in, and where the driver may keep what it compiles.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility CUDA_CACHE_PATH=/tmp/cuda
USER 65532:65532

FROM $BASE AS edge
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nginx \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
 && find / -xdev -perm /6000 -type f -exec chmod a-s {} +
COPY deploy/edge/nginx.conf /etc/scalpel-edge/
COPY deploy/edge/replicas /etc/scalpel-edge/replicas
LABEL org.opencontainers.image.title="Scalpel's edge" \
      org.opencontainers.image.description="TLS, rate limits and affinity in front of Scalpel's servers" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.base.name="debian:bookworm-slim"
EXPOSE 8443
HEALTHCHECK --interval=10s --timeout=3s CMD ["bash", "-c", "</dev/tcp/127.0.0.1/8443"]
# nginx drains on SIGQUIT; SIGTERM would cut the streams.
STOPSIGNAL SIGQUIT
USER 65532:65532
ENTRYPOINT ["nginx", "-e", "stderr", "-p", "/tmp", "-c", "/etc/scalpel-edge/nginx.conf", "-g", "daemon off;"]

# --- With a newer gRPC ---------------------------------------------------------------------------------------------

# Debian 13, with gRPC, protobuf, Abseil and re2 of Debian's unstable and experimental suites: exactly the packages whose digests
# the lists name. All others are Debian 13's.
FROM $CURRENT_BASE AS current-toolchain
COPY deploy/newer-packages.sh deploy/packages-build.txt deploy/packages-current-*.sha256 /src/deploy/
ARG NEWER_MIRROR
RUN cd /src/deploy \
 && ./newer-packages.sh /tmp/newer packages-current-build.sha256 packages-current-runtime.sha256 \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends /tmp/newer/*.deb \
 && DEBIAN_FRONTEND=noninteractive xargs apt-get install -y --no-install-recommends <packages-build.txt \
 && rm -rf /tmp/newer /var/lib/apt/lists/*

FROM current-toolchain AS current-build
COPY --from=libtorch /opt/scalpel/libtorch /opt/scalpel/libtorch
COPY deploy/requirements-libtorch.txt /src/deploy/
COPY CMakeLists.txt /src/
COPY proto /src/proto
COPY server /src/server
COPY client/cpp /src/client/cpp
ARG JOBS=2
RUN cmake -G Ninja -S /src -B /build -DSCALPEL_TESTS=OFF -DSCALPEL_LIBTORCH_DIR=/opt/scalpel/libtorch \
 && ninja -C /build -j "$JOBS" scalpel-server scalpel-cli \
 && install -s -D -t /opt/scalpel/bin /build/server/scalpel-server /build/client/cpp/scalpel-cli
RUN dpkg-query -W -f '${Package} ${Version} ${Architecture}\n' librandom123-dev nlohmann-json3-dev >/opt/scalpel/headers.txt

FROM $CURRENT_BASE AS current-libraries
COPY deploy/newer-packages.sh deploy/packages-current-runtime.* /tmp/
ARG NEWER_MIRROR
RUN cd /tmp \
 && ./newer-packages.sh newer packages-current-runtime.sha256 \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive xargs apt-get install -y --no-install-recommends ./newer/*.deb <packages-current-runtime.txt \
 && rm -rf /tmp/* /var/lib/apt/lists/* /var/cache/* /var/log/* \
 && find / -xdev -perm /6000 -type f -exec chmod a-s {} +

FROM current-libraries AS current-sbom
COPY deploy/sbom.sh deploy/requirements-libtorch.txt /sbom/
COPY --from=current-build /opt/scalpel/headers.txt /sbom/
ARG SOURCE_DATE_EPOCH
RUN /sbom/sbom.sh /sbom/requirements-libtorch.txt /sbom/headers.txt >/sbom/scalpel.spdx.json

FROM current-libraries AS current
COPY --from=libtorch /opt/scalpel/libtorch/torch/lib /opt/scalpel/libtorch/torch/lib
COPY --from=libtorch /opt/scalpel/libtorch/nvidia /opt/scalpel/libtorch/nvidia
COPY --from=current-sbom /sbom/scalpel.spdx.json /opt/scalpel/sbom.spdx.json
COPY --from=current-build /opt/scalpel/bin /opt/scalpel/bin
COPY deploy/demo-model /opt/scalpel/demo-model
# The same as in `libraries`.
ENV PATH=/opt/scalpel/bin:/usr/local/bin:/usr/bin:/bin \
    SCALPEL_MODEL=/opt/scalpel/demo-model \
    SCALPEL_LISTEN=0.0.0.0:50051
LABEL org.opencontainers.image.title="Scalpel" \
      org.opencontainers.image.description="GPT-2 under interventions, over gRPC" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.base.name="debian:trixie-slim"
WORKDIR /
EXPOSE 50051
HEALTHCHECK --interval=15s --timeout=6s --start-period=120s --retries=3 CMD ["scalpel-server", "--healthcheck"]
STOPSIGNAL SIGTERM
USER 65532:65532
ENTRYPOINT ["scalpel-server"]

# --- The default ---------------------------------------------------------------------------------------------------

# Last, so that it is what a build without --target makes.
FROM libraries AS runtime
COPY --from=libtorch /opt/scalpel/libtorch/torch/lib /opt/scalpel/libtorch/torch/lib
COPY --from=libtorch /opt/scalpel/libtorch/nvidia /opt/scalpel/libtorch/nvidia
COPY --from=sbom /sbom/scalpel.spdx.json /opt/scalpel/sbom.spdx.json
COPY --from=build /opt/scalpel/bin /opt/scalpel/bin
COPY deploy/demo-model /opt/scalpel/demo-model
USER 65532:65532
