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
            '{{.Name}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}unchecked{{end}} {{.State.ExitCode}}' \
            "$id")
        case "$state" in
            *" running healthy "* | *" running unchecked "* | *" exited unchecked 0") ;;
            *) waiting="$waiting  ${state#/}
" ;;
        esac
    done
    [ -n "$waiting" ] || break
    if [ "$(date +%s)" -ge "$deadline" ]; then
        printf '%s' "$waiting" | while read -r name _; do
            printf '\n--- the end of the log of %s\n' "$name" >&2
            docker logs --tail 30 "$name" >&2 || true
        done
        printf '\nerror: not healthy (name, state, health, exit code):\n%s  -> docker logs NAME says why\n' "$waiting" >&2
        exit 1
    fi
    sleep 2
done
echo "every service is healthy"
