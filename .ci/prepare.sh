# prepare.sh - sourced by demo and check: installs the Debian packages that are missing and builds nnc.
#   prepare_packages PACKAGE...   installs what is missing, as root or through sudo, or names it and stops
#   prepare_build DIR [OPTION...] sets the build folder up once and builds

prepare_packages() {
    missing=""
    for package in "$@"; do
        state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
        case "$state" in *"install ok installed"*) ;; *) missing="$missing $package" ;; esac
    done
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" = 0 ]; then as_root=""
    elif command -v sudo >/dev/null 2>&1; then as_root="sudo"
    else
        echo "These packages are missing, and only root can install them:$missing" >&2
        echo "Please run: apt-get install$missing" >&2
        exit 1
    fi
    echo "installing:$missing"
    $as_root apt-get update -q >/dev/null || true # an old list may do; the next line says if not
    log=$(mktemp)
    if ! $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        echo "Could not install:$missing" >&2
        exit 1
    fi
    rm -f "$log"
}

build_packages="gcc libc6-dev pkg-config meson ninja-build flex bison llvm-19-dev libzstd-dev zlib1g-dev libjansson-dev libpng-dev libjpeg-dev libutf8proc-dev"

prepare_build() {
    folder=$1
    shift
    if [ ! -f "$folder/build.ninja" ]; then meson setup "$folder" "$@" >"$folder.log" 2>&1 || { cat "$folder.log" >&2; exit 1; }; rm -f "$folder.log"; fi
    # (a log beside the folder, because meson wants to make the folder itself)
    if ! meson compile -C "$folder" >"$folder/compile.log" 2>&1; then
        grep -E 'error|warning|FAILED' "$folder/compile.log" >&2 || cat "$folder/compile.log" >&2
        exit 1
    fi
}
