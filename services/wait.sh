#!/bin/sh
# Waits until every container of the stack is healthy, or has ended well; says which one is not, and ends with 1 then.
# Compose's own --wait is too new for the older of the two versions that the stack runs with.
set -eu
compose=${COMPOSE:-docker-compose}
deadline=$(($(date +%s) + ${WAIT_TIMEOUT_S:-600}))
while :; do
    waiting=""
    for id in $($compose ps --all --quiet 2>/dev/null || $compose ps --quiet); do
        state=$(docker inspect --format \
            '{{.Name}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}} {{.State.ExitCode}}' "$id")
        case "$state" in
            *" running healthy "* | *" exited  0") ;;
            *) waiting="$waiting  ${state#/}
" ;;
        esac
    done
    [ -n "$waiting" ] || break
    if [ "$(date +%s)" -ge "$deadline" ]; then
        printf 'error: not healthy (name, state, health, exit code):\n%s  -> %s logs NAME says why\n' \
            "$waiting" "$compose" >&2
        exit 1
    fi
    sleep 2
done
echo "every service is healthy"
