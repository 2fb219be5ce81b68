#!/bin/sh
# Writes a running stack's databases and files to a folder: sh services/backup.sh [FOLDER]
# The databases come first: what they name is then among the files, which are never changed, only added.
set -eu
cd "$(dirname "$0")/.."
umask 077
compose=${COMPOSE:-docker-compose}
folder=${1:-backups/$(date -u +%Y%m%dT%H%M%SZ)}
if [ -e "$folder" ] && [ -n "$(ls -A "$folder")" ]; then
    printf 'error: %s is not empty\n  -> name a new folder: make backup BACKUP=...\n' "$folder" >&2
    exit 2
fi
mkdir -p "$folder"

for database in dl_service mlflow prefect; do
    $compose exec -T postgres pg_dump --username=postgres --format=custom --create "$database" >"$folder/$database.dump"
done
# Without the folder itself: it is the volume's, and who restores may not change it.
# shellcheck disable=SC2016 # for the shell in the container
pack='cd "$1" && find . -mindepth 1 -maxdepth 1 -printf "%P\0" | tar -cf - --null --files-from=-'
keep() { $compose exec -T "$2" sh -c "$pack" pack "$3" >"$folder/$1.tar"; }
keep central_storage dl_service /central_storage
keep mlflow_artifacts mlflow /var/lib/mlflow
# The images that were uploaded, while they are kept. Not the outbox: its records are in the database by now, or will be.
keep images dl_service /var/lib/onsight/dl_service/images
(cd "$folder" && sha256sum ./*.dump ./*.tar >SHA256SUMS)
echo "the backup is in $folder; the secrets are not in it: keep ./secrets and .env yourself"
