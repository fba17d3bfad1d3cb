#!/bin/sh
# Prints a Python that this project runs on: 3.11 to 3.13. Each candidate is run, for a name on the PATH may be a shim
# that leads nowhere. With none, one sentence says what is there.
found=""
for name in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python; do
  path=$(command -v "$name" 2>/dev/null) || continue
  version=$("$path" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
  case $version in
    3.11|3.12|3.13) if "$path" -c 'import venv, ensurepip' 2>/dev/null; then echo "$path"; exit 0; fi
      found="$found $name is $version but lacks its venv module (Debian: apt install python3-venv)." ;;
    *) found="$found $name is $version." ;;
  esac
done
echo "voiceagent needs Python 3.11, 3.12 or 3.13 on the PATH.${found:- There is no Python at all.}" >&2
exit 1
