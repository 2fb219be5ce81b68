#!/usr/bin/env bash
# Runs once, on an empty volume: three databases with a role each, and a role that may read them all.
# psql reads the passwords from the secret files itself, so that none stands in an environment or a process list.
set -euo pipefail

sql() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres "$@"; }

export ROLE
for ROLE in mlflow prefect dl_service reader; do
    # A line of a password file of libpq: host:port:database:role:password
    [ -s "/run/secrets/${ROLE}_database" ] || { echo "the secret ${ROLE}_database is empty: make init" >&2; exit 1; }
    sql --dbname postgres --set role="$ROLE" <<'SQL'
\set password `cut -d: -f5 "/run/secrets/${ROLE}_database"`
CREATE ROLE :"role" LOGIN PASSWORD :'password';
SQL
done
for ROLE in mlflow prefect dl_service; do
    sql --dbname postgres --set role="$ROLE" <<'SQL'
CREATE DATABASE :"role" OWNER :"role";
REVOKE ALL ON DATABASE :"role" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"role" TO reader;
SQL
done
sql --dbname postgres <<'SQL'
GRANT pg_monitor, pg_read_all_data TO reader;
SQL
sql --dbname prefect <<'SQL'
CREATE EXTENSION IF NOT EXISTS pg_trgm;
SQL
