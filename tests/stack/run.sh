#!/usr/bin/env bash
# Builds and starts a stack of its own, runs the tests that the arguments name, and removes it with all its volumes; or,
# with --build-only, does no more than to build.
# STACK_GAPS names the services that this machine cannot have as they are published; for the tests, too.
set -euo pipefail
cd "$(dirname "$0")/../.."
set -a
# shellcheck source=tests/stack/test.env
. tests/stack/test.env
set +a
read -ra compose <<<"${COMPOSE:-docker-compose}"
export COMPOSE_FILE=docker-compose.yml:tests/stack/webhook.yml
[ -z "${STACK_GAPS:-}" ] || COMPOSE_FILE+=:tests/stack/gaps.yml

docker version >/dev/null 2>&1 || {
    echo "error: no Docker engine answers" >&2
    echo "  -> install Docker and start it; what is said of the stack is tested in a running one" >&2
    exit 1
}
step() { printf '\n--- %s (at %s s)\n' "$*" "$SECONDS"; }
sh services/init.sh
step "build"
# The largest image beside the others; the second call finds everything made.
"${compose[@]}" build --quiet jupyter &
training=$!
"${compose[@]}" build --quiet alertmanager dl_service mlflow nginx postgres prefect
wait "$training"
"${compose[@]}" build --quiet
[ "$1" != --build-only ] || exit 0

finish() {
    status=$?
    trap - EXIT
    # What is not healthy says why; a stack that is well says nothing more.
    [ "$status" = 0 ] || WAIT_TIMEOUT_S=0 sh services/wait.sh || true
    step "remove the containers and volumes"
    "${compose[@]}" down --volumes --remove-orphans --timeout 20 >/dev/null 2>&1 || true
    rm -rf .onsight/test-stack/datasets
    step "done, status $status"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Left behind by a run that was killed.
"${compose[@]}" down --volumes --remove-orphans --timeout 5 >/dev/null 2>&1 || true

step "a copy of the data set that belongs to the containers' user"
rm -rf .onsight/test-stack/datasets
mkdir -p .onsight/test-stack/datasets
cp -a datasets/elpv datasets/.dvc_remotes .onsight/test-stack/datasets/
[ "$(id -u)" != 0 ] ||
    chown -R "$(sed -n 's/^ONSIGHT_UID=//p' .env):$(sed -n 's/^ONSIGHT_GID=//p' .env)" .onsight/test-stack/datasets

step "up"
"${compose[@]}" up -d
sh services/wait.sh
step "tests"
.venv/bin/python -m pytest --timeout 1800 "$@"
