#!/bin/sh
# Adds the receiver from the settings to alertmanager.yml, and starts Alertmanager. A secret is a file: its content
# stands neither in the environment nor in a process list.
set -eu
umask 077

rendered=${ALERTMANAGER_RENDERED:-/tmp/alertmanager.yml}
fail() { printf 'error: %s\n  -> %s\n' "$1" "$2" >&2; exit 2; }
secret() { if [ -n "$1" ] && [ -s "$1" ]; then head -n 1 "$1"; fi; }
# A YAML string in single quotes.
quote() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/''/g")"; }

cat "${ALERTMANAGER_BASE:-/etc/onsight/alertmanager.yml}" >"$rendered"
printf '\nreceivers:\n  - name: team\n' >>"$rendered"

webhook=$(secret "${ALERT_WEBHOOK_URL_FILE:-}")
if [ -n "$webhook" ]; then
    case $webhook in
        http://?* | https://?*) ;;
        *) fail "the secret with the webhook's URL holds no URL" "write http://... or https://... into it" ;;
    esac
    printf '    webhook_configs:\n      - url: %s\n        send_resolved: true\n' "$(quote "$webhook")" >>"$rendered"
fi
if [ -n "${ALERT_MAIL_TO:-}" ]; then
    [ -n "${ALERT_MAIL_FROM:-}" ] || fail "ALERT_MAIL_TO is set, ALERT_MAIL_FROM is not" "set the sender's address in .env"
    [ -n "${ALERT_SMTP_HOST:-}" ] || fail "ALERT_MAIL_TO is set, ALERT_SMTP_HOST is not" "set host:port of the mail server in .env"
    {
        printf '    email_configs:\n      - to: %s\n' "$(quote "$ALERT_MAIL_TO")"
        printf '        from: %s\n' "$(quote "$ALERT_MAIL_FROM")"
        printf '        smarthost: %s\n' "$(quote "$ALERT_SMTP_HOST")"
        printf '        require_tls: %s\n' "${ALERT_SMTP_TLS:-true}"
        printf '        send_resolved: true\n'
        if [ -n "${ALERT_SMTP_USER:-}" ]; then
            printf '        auth_username: %s\n' "$(quote "$ALERT_SMTP_USER")"
            printf '        auth_password_file: %s\n' "$(quote "${ALERT_SMTP_PASSWORD_FILE:?set the secret with the password}")"
        fi
    } >>"$rendered"
fi
if [ -z "$webhook" ] && [ -z "${ALERT_MAIL_TO:-}" ]; then
    echo "warning: alerts reach nobody: set ALERT_MAIL_TO or the webhook's URL" >&2
fi

exec "${ALERTMANAGER_PROGRAM:-/bin/alertmanager}" --config.file="$rendered" "$@"
