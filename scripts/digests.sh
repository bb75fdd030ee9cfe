#!/bin/sh
# Writes beside the tag of each upstream image in the compose file the digest that its registry has for the tag now, so
# that another image under the same tag is refused: image: nginx:1.30.5@sha256:... Run it again after a tag was raised.
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
for image in $(sed -n 's/^ *image: \([^ ]*\).*/\1/p' "$file" | grep -v '^rectbot:' | sort -u); do
    tag=${image%%@*}
    digest=$(digest_of "$tag")
    case $digest in sha256:*) ;; *) echo "digests: $digest is no digest of $tag" >&2; exit 1 ;; esac
    sed "s,^\( *image: \)$tag\(@sha256:[0-9a-f]*\)\{0\,1\}\( .*\)\{0\,1\}\$,\1$tag@$digest\3," "$new" >"$new.2"
    mv "$new.2" "$new"
done
cat "$new" >"$file"
echo "digests: $file names the digest of each image"
