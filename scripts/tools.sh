# shellcheck shell=bash
# Where the programs are that tests and the cluster need. Sourced by every script here, so that all look in the same
# places. Each function prints a path, or fails when there is nothing good enough.

postgres_major_min=15
node_major_min=18

# The newest PostgreSQL server on this machine: its bin directory.
find_postgres_bin() {
  local dir major best='' best_major=0
  for dir in "${RAIDHALL_TEST_PG_BIN:-}" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin \
    "$(dirname "$(command -v postgres || echo /nowhere/postgres)")"; do
    [[ -n $dir && -x $dir/initdb && -x $dir/postgres ]] || continue
    major=$("$dir/postgres" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
    if ((major >= postgres_major_min && major > best_major)); then
      best=$dir best_major=$major
    fi
  done
  [[ -n $best ]] && printf '%s\n' "$best"
}

find_redis() {
  command -v redis-server
}

find_python() {
  command -v python3
}

has_venv() {
  python3 -c 'import ensurepip, venv' 2>/dev/null
}

# The library that gives a process another clock, by LD_PRELOAD: the build for programs with threads.
find_faketime() {
  local library
  for library in "${RAIDHALL_TEST_FAKETIME:-}" /usr/lib/*/faketime/libfaketimeMT.so.1 \
    /usr/lib{,64}/faketime/libfaketimeMT.so.1 /usr/local/lib/faketime/libfaketimeMT.so.1; do
    [[ -f $library ]] && printf '%s\n' "$library" && return
  done
  return 1
}

find_slowhttptest() {
  command -v slowhttptest
}

find_shellcheck() {
  command -v shellcheck
}

find_npm() {
  command -v npm
}

find_promtool() {
  command -v promtool
}

# Debian keeps these two where only root looks.
find_haproxy() {
  PATH=$PATH:/usr/sbin:/usr/local/sbin command -v haproxy
}

find_nginx() {
  PATH=$PATH:/usr/sbin:/usr/local/sbin command -v nginx
}

find_caddy() {
  command -v caddy
}

# A port that nobody listens on now, below the range that the system hands out by itself. Another may take it before its
# caller does.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    is_free "$port" && break
  done
  echo "$port"
}

# Whether nobody listens on this port of 127.0.0.1.
is_free() {
  ! (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

find_node() {
  local node
  node=$(command -v node || command -v nodejs) || return 1
  (($("$node" -p 'process.versions.node.split(".")[0]') >= node_major_min)) && printf '%s\n' "$node"
}

# A Chromium: the one asked for, the system's, or the build that Playwright keeps for itself (Ubuntu's package is a
# snap, whose sandbox hides /tmp from the browser).
find_chromium() {
  local name
  if [[ -x ${RAIDHALL_TEST_CHROMIUM:-} ]]; then
    printf '%s\n' "$RAIDHALL_TEST_CHROMIUM"
    return
  fi
  for name in chromium google-chrome google-chrome-stable chromium-browser; do
    name=$(command -v "$name") || continue
    is_snap "$name" || { printf '%s\n' "$name" && return; }
  done
  find "${PLAYWRIGHT_BROWSERS_PATH:-$HOME/.cache/ms-playwright}" -path '*/chrome-linux*/chrome' -type f 2>/dev/null |
    sort -V | tail -n 1 | grep .
}

is_snap() {
  [[ $(readlink -f "$1") == */snap* ]] || head -c 4096 "$1" | grep -aq /snap/
}
