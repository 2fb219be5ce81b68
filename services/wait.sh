#!/bin/sh
# Waits until every container of the stack is healthy, or has ended well; shows the log of the one that is not, and ends
# with 1 then. Compose's own --wait is too new for the older of the two versions that the stack runs with.
set -eu
compose=${COMPOSE:-docker-compose}
deadline=$(($(date +%s) + ${WAIT_TIMEOUT_S:-600}))
state='{{.Name}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}unchecked{{end}} {{.State.ExitCode}}'
while :; do
    # Each a command of its own: one that fails ends this script.
    containers=$($compose ps --all --quiet)
    [ -n "$containers" ] || {
        printf 'error: the stack has no container\n  -> make start\n' >&2
        exit 1
    }
    # shellcheck disable=SC2086 # identifiers hold no blanks
    states=$(docker inspect --format "$state" $containers)
    waiting=$(echo "$states" | grep -v -e ' running healthy ' -e ' running unchecked ' -e ' exited unchecked 0$' || true)
    [ -n "$waiting" ] || break
    if [ "$(date +%s)" -ge "$deadline" ]; then
        echo "$waiting" | while read -r name _; do
            printf '\n--- the end of the log of %s\n' "${name#/}" >&2
            docker logs --tail 30 "${name#/}" >&2 || true
        done
        printf '\nerror: not healthy (name, state, health, exit code):\n%s\n  -> docker logs NAME says why\n' "$waiting" >&2
        exit 1
    fi
    sleep 2
done
echo "every service is healthy"
