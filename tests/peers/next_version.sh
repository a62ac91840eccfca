#!/usr/bin/env bash
# Builds the program as its next version may be, with a column more that every event fills, for the tests of lakes that two
# versions write. Works on a copy; the binary of this version stays where it is.
#
#   next_version.sh OUT
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=$(realpath -m "${1:?usage: next_version.sh OUT}")
target=$(realpath -m "${CARGO_TARGET_DIR:-$repository/target}")
# Always the same folder, so that a later build finds what has not changed.
work=$target/next-version
rm -rf "$work"
mkdir -p "$work"
(cd "$repository" && git ls-files -z | tar --null -T - -cf - | tar -C "$work" -xf -)

edit() { # FILE, the line before which the new one stands, the new one
  local count
  count=$(grep -cF -- "$2" "$work/$1") || true
  [ "$count" = 1 ] || { echo "next_version.sh: \`$2\` stands $count times in $1" >&2; exit 1; }
  awk -v before="$2" -v new="$3" 'index($0, before) { print new } { print }' "$work/$1" >"$work/edited"
  mv "$work/edited" "$work/$1"
}
edit schemas/src/columns.rs 'sensitive map ext:' '    plain text next_thing: "A column of the next version.";'
edit schemas/src/decode.rs 'row.row_kind = Some(EVENT.into());' '        row.next_thing = Some("next".into());'

# Also when the build fails or is interrupted.
kept=$target/next-version-kept
trap '[ ! -e "$kept" ] || mv -f "$kept" "$target/debug/vialog"' EXIT
[ ! -e "$target/debug/vialog" ] || cp -p "$target/debug/vialog" "$kept"
(cd "$work" && CARGO_TARGET_DIR=$target cargo build -q --workspace --bins)
mv "$target/debug/vialog" "$out"
