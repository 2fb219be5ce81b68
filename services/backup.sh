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
# Without the folder itself: it is the volume's, and who restores may not change it. Files come and go meanwhile: tar
# ends with 1 then, and with 2 when it could not read something.
# shellcheck disable=SC2016 # for the shell in the container
pack='mkdir -p -m 700 "$1"; cd "$1" || exit 2; shift
find . -mindepth 1 -maxdepth 1 -printf "%P\0" | tar -cf - "$@" --null --files-from=- || [ "$?" = 1 ]'
keep() {
    archive=$1 service=$2
    shift 2
    $compose exec -T "$service" sh -c "$pack" pack "$@" >"$folder/$archive.tar"
}
# Left out is what is being written.
keep central_storage dl_service /central_storage --exclude=.staging
keep mlflow_artifacts mlflow /var/lib/mlflow
# The images that were uploaded, while they are kept. Not the outbox: its records are in the database by now, or will be.
keep images dl_service /var/lib/onsight/dl_service/images "--exclude=*.new" "--exclude=.kept.*"
(cd "$folder" && sha256sum ./*.dump ./*.tar >SHA256SUMS)
echo "the backup is in $folder; the secrets are not in it: keep ./secrets and .env yourself"
