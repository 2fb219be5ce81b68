#!/bin/sh
# Makes the stack's secrets: random, one file each, readable by the stack's user alone. What is there is kept, so that it
# can be run again at any time; a secret is replaced by deleting its file first.
set -eu
cd "$(dirname "$0")/.."
umask 077

random_text() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }
random_hex() { head -c 6 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

# keep NAME CONTENT: the content is an argument of a shell function, never of a process.
keep() {
    if [ -d "secrets/$1" ]; then
        echo "error: secrets/$1 is a folder: Docker makes one where a secret is missing" >&2
        echo "  -> docker-compose down, remove it, and run make init again" >&2
        exit 1
    fi
    if [ ! -s "secrets/$1" ]; then
        printf '%s\n' "$2" >"secrets/$1.new"
        mv "secrets/$1.new" "secrets/$1"
        echo "made secrets/$1"
    fi
}

mkdir -p secrets
for role in dl_service mlflow prefect reader; do
    # A line of a password file of PostgreSQL: host, port, database, role, password.
    keep "${role}_database" "*:*:*:$role:$(random_text)"
done
for name in deploy web; do
    keep "${name}_api_key" "onsight_$(random_hex)_$(random_text)"
done
keep jupyter_token "$(random_text)"
keep grafana_password "$(random_text)"
keep pgadmin_password "$(random_text)"
keep reader_password "$(cut -d: -f5 secrets/reader_database)"
# Where alerts go is not ours to make up: empty until the team writes it.
for name in alert_webhook_url alert_smtp_password; do
    [ -e "secrets/$name" ] || : >"secrets/$name"
done

# The containers run as the owner of the secrets: as you, or, where you are root, as the user that .env names.
if [ "$(id -u)" = 0 ]; then
    user=$(sed -n 's/^ONSIGHT_UID=//p' .env)
    group=$(sed -n 's/^ONSIGHT_GID=//p' .env)
    chown -R "$user:$group" secrets
elif ! grep -qx "ONSIGHT_UID=$(id -u)" .env || ! grep -qx "ONSIGHT_GID=$(id -g)" .env; then
    sed -i "s/^ONSIGHT_UID=.*/ONSIGHT_UID=$(id -u)/; s/^ONSIGHT_GID=.*/ONSIGHT_GID=$(id -g)/" .env
    echo "set ONSIGHT_UID and ONSIGHT_GID in .env to yours"
fi
chmod 700 secrets
chmod 600 secrets/*
# Compose refuses to start anything while this file is missing.
echo "# The stack's secrets are made. This file holds none." >secrets/made_by_make_init.env
[ "$(id -u)" != 0 ] || chown "$user:$group" secrets/made_by_make_init.env
