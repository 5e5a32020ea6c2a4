#!/usr/bin/env bash
# A day's radiographs, every evening: nightly.sh INBOX RESULTS
# In a crontab, which knows no PATH of yours:
#   30 20 * * *  CHESTX=/opt/chestx/venv/bin/chestx /opt/chestx/nightly.sh /srv/inbox /srv/results
#
# Each night has a folder of its own. A run that was cut short is finished by starting the
# script again on the same day; a run that is finished is left alone.
# Exit code: 0 all read, or nothing to do; 3 some files could not be read (they are rows in
# results.csv and need a person); anything else: the run did not end, alarm somebody.
set -euo pipefail

if [ $# -ne 2 ]; then
  echo "usage: nightly.sh INBOX RESULTS" >&2
  exit 2
fi
chestx=${CHESTX:-chestx}
inbox=$1
mkdir -p "$2"
set -- "$1" "$(realpath "$2")"
today=$(date +%F)
night=$2/$today

# Two runs at once would do the same work twice.
exec 9>"$2/.nightly.lock"
flock -n 9 || { echo "nightly.sh: another run is under way" >&2; exit 1; }

if grep -qs '"status": "finished"' "$night/run.json"; then
  echo "$night is finished already"
  exit 0
fi

# The list is frozen when the night begins, so that a file that arrives later does not
# keep a run that was cut short from being finished; it is read the next night.
list=$2/$today.txt
if [ ! -s "$list" ]; then
  cd "$inbox"
  find -L "$PWD" -type f ! -path '*/.*' ! -iname thumbs.db ! -iname desktop.ini ! -iname dicomdir |
    LC_ALL=C sort >"$list.new"
  mv "$list.new" "$list"
fi
if [ ! -s "$list" ]; then
  rm "$list"
  echo "$today: nothing in $inbox"
  exit 0
fi

code=0
"$chestx" predict "$list" --output "$night" --resume --quiet --log-json 2>>"$2/nightly.log" || code=$?
case $code in
  0) echo "$night: all files were read" ;;
  3) echo "$night: some files could not be read; filter results.csv by status = failed" ;;
  *) echo "nightly.sh: the run of $today did not end, exit code $code; see $2/nightly.log" >&2 ;;
esac
exit "$code"
