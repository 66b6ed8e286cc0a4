#!/bin/sh
# Joins the objects of the runtime with the archives of the libraries it uses: archive.sh AR OUTPUT OBJECT... -- CC.... A library that the machine has as a shared one alone is
# left out; the link of finished programs then names it itself.
set -eu
ar=$1
output=$2
shift 2
rm -f "$output"
script="CREATE $output
"
while [ "$1" != -- ]; do
    script="${script}ADDMOD $1
"
    shift
done
shift
for name in libjansson.a libpng16.a libjpeg.a libz.a; do
    path=$("$@" -print-file-name=$name)
    if [ "$path" != "$name" ]; then
        script="${script}ADDLIB $path
"
    fi
done
printf '%sSAVE\nEND\n' "$script" | "$ar" -M
