#!/bin/sh
# Prints where the stack's pages are.
set -eu
cd "$(dirname "$0")/.."
# A variable of the environment comes before .env, as for Compose.
port() { eval "echo \${$1:-$(sed -n "s/^$1=//p" .env)}"; }
say() { printf '%-18s http://127.0.0.1:%s  %s\n' "$1" "$(port "$2")" "${3:-}"; }
say "web page and API" NGINX_PORT
say MLflow MLFLOW_PORT
say Prefect PREFECT_PORT
say JupyterLab JUPYTER_PORT "(the token is in secrets/jupyter_token)"
say Grafana GRAFANA_PORT "(the password is in secrets/grafana_password)"
say Prometheus PROMETHEUS_PORT
say Alertmanager ALERTMANAGER_PORT
say pgAdmin PGADMIN_PORT "(the password is in secrets/pgadmin_password)"
