#!/bin/sh
# Writes beside the version of each upstream image in the compose file the digest that its registry has for it now, so
# that another image under the same tag is refused: image: nginx:${NGINX_VERSION:-1.30.5@sha256:...}. Run it again after
# a version was raised.
set -eu
cd "$(dirname "$0")/.."
file=${1:-docker-compose.monitoring.yml}
digest_of() {
    docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1" ||
        { echo "digests: the registry does not tell the digest of $1; nothing was changed" >&2; exit 1; }
}
new=$(mktemp)
trap 'rm -f "$new"' EXIT
cp "$file" "$new"
# shellcheck disable=SC2016 # the compose file's variables, not ours
images=$(sed -n 's/^ *image: \([^:]*\):\(${[A-Z]*_VERSION:-\)\([^@}]*\).*}$/\1:\3/p' "$file" | grep -v '^rectbot:' | sort -u)
for image in $images; do
    digest=$(digest_of "$image")
    case $digest in sha256:*) ;; *) echo "digests: $digest is no digest of $image" >&2; exit 1 ;; esac
    name=${image%%:*} version=${image#*:}
    sed "s,^\( *image: $name:\${[A-Z]*_VERSION:-$version\)[^}]*},\1@$digest}," "$new" >"$new.2"
    mv "$new.2" "$new"
done
cat "$new" >"$file"
echo "digests: $file names the digest of each image"
