# shellcheck shell=sh
# What the recipes share; each sources this file, defines `make_tar FILE` and ends with: recipe NAME COMMAND "$@"
#
# `make_tar` writes the root file system as a tar to FILE and sets `origin`: one honest line on where it comes from,
# which becomes the image's comment. It runs in `work`, a directory that is gone afterwards; downloads go to `cache`.

set -eu

if [ "$(id -u)" = 0 ]; then cache=/var/cache/minirun; else cache=${XDG_CACHE_HOME:-$HOME/.cache}/minirun; fi

# recipe NAME COMMAND [--output FILE]: make the tar; without --output, import it as image NAME unless there is one.
recipe() {
    name=$1 command=$2 output=
    shift 2
    case ${1-} in
        "")
            command -v minirun >/dev/null || fail "minirun is not in the PATH: make run, or rootfs/$name --output FILE"
            images=$(minirun images -q "$name")
            [ -z "$images" ] || return 0 ;;
        --output) output=$(realpath -m -- "${2:?--output needs a file}") ;;
        *) fail "usage: rootfs/$name [--output FILE]" ;;
    esac

    mkdir -p "$cache"
    work=$(mktemp -d "$cache/$name.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    cd "$work"

    make_tar "${output:-rootfs.tar}"
    say "$origin"
    [ -n "$output" ] || minirun import --change "CMD [\"$command\"]" --message "$origin" rootfs.tar "$name"
}

say() { echo "rootfs/$name: $*" >&2; }
fail() { say "$*"; exit 1; }

# need COMMAND PACKAGE: have the command, if necessary by installing the Debian package.
need() {
    ! command -v "$1" >/dev/null || return 0
    [ "$(id -u)" = 0 ] || fail "$1 is missing: apt-get install $2"
    say "installing the Debian package $2"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -qq --no-install-recommends "$2" >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get install -qq --no-install-recommends "$2" >/dev/null; } ||
        fail "cannot install $2"
}

# fetch URL FILE SHA256: FILE is in place afterwards, and is what it should be. Python downloads: a new Debian has
# neither curl nor wget. Five seconds of silence mean that the server is out of reach.
fetch() {
    ! is "$2" "$3" || return 0
    python3 - "$1" "$2.part" <<-'END' && is "$2.part" "$3" && mv "$2.part" "$2"
	import shutil, sys, urllib.request
	url, file = sys.argv[1:]
	try:
	    with urllib.request.urlopen(url, timeout=5) as page, open(file, "wb") as out:
	        shutil.copyfileobj(page, out)
	except OSError as error:
	    sys.exit(f"{url}: {getattr(error, 'reason', error)}")
	END
}

# is FILE SHA256: the file is there and has this sum.
is() {
    [ -e "$1" ] && echo "$2  $1" | sha256sum --check --status ||
        { [ ! -e "$1" ] || say "$1 does not have the sha256 that is expected: it is thrown away"; rm -f "$1"; false; }
}
