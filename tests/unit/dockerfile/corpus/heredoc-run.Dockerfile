FROM debian:12-slim
RUN <<EOF
set -e
apt-get update
apt-get install -y curl
USER nobody
useradd -u 4242 app
EOF
USER app
