#!/bin/sh
# Puts a backup into a stack that `make up` started: sh services/restore.sh FOLDER
# The databases are replaced, files are added. Keys and passwords stay those of this machine's ./secrets.
set -eu
cd "$(dirname "$0")/.."
compose=${COMPOSE:-docker-compose}
folder=${1:?name the folder of the backup: make restore BACKUP=backups/...}
(cd "$folder" && sha256sum --quiet --check SHA256SUMS) || {
    printf 'error: the backup in %s is damaged: nothing was restored\n  -> take another one\n' "$folder" >&2
    exit 2
}

# Postgres alone stays: nobody writes while the databases are replaced.
# shellcheck disable=SC2046 # names of services hold no blanks
$compose stop $($compose config --services | grep -vx postgres)
for database in dl_service mlflow prefect; do
    $compose exec -T postgres pg_restore --username=postgres --dbname=postgres --clean --if-exists --create \
        --exit-on-error <"$folder/$database.dump"
done
# shellcheck disable=SC2016 # for the shell in the container
unpack='mkdir -p "$1" && tar -C "$1" -xf -'
put() { $compose run --rm --no-deps -T "$2" sh -c "$unpack" unpack "$3" <"$folder/$1.tar"; }
put central_storage dl_service /central_storage
put mlflow_artifacts mlflow /var/lib/mlflow
put images dl_service /var/lib/onsight/dl_service/images
$compose up -d
sh services/wait.sh
echo "restored from $folder"
