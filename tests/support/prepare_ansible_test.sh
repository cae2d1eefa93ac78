#!/usr/bin/env bash
# ansible-test clears the environment and fetches a bootstrap of pip. Where pip is configured by environment variables
# (a mirror, a certificate), write that down for it; where the bootstrap is not cached, let ensurepip stand in.
set -euo pipefail

if [[ -n ${PIP_CERT:-} ]] && ! pip config get global.cert >/dev/null 2>&1; then
  pip config --user set global.cert "$PIP_CERT" >/dev/null
fi

cache=$HOME/.ansible/test/cache
mkdir -p "$cache"
for name in get_pip_24_2.py get_pip_25_1.py get_pip_25_3.py; do
  [[ -e $cache/$name ]] || cat >"$cache/$name" <<'PY'
import ensurepip

ensurepip.bootstrap(upgrade=True)
PY
done
