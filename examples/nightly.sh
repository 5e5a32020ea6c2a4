#!/usr/bin/env bash
# A day's radiographs, every evening: nightly.sh INBOX RESULTS
# In a crontab:  30 20 * * *  /opt/chestx/nightly.sh /srv/inbox /srv/results
#
# Each night has a folder of its own, and a second start on the same night is refused.
# Exit code: 0 all read; 3 some files could not be read (they are rows in results.csv
# and need a person); anything else: the run did not happen, alarm somebody.
set -euo pipefail

if [ $# -ne 2 ]; then
  echo "usage: nightly.sh INBOX RESULTS" >&2
  exit 2
fi
inbox=$1
night=$2/$(date +%F)
mkdir -p "$2"

# Two runs at once would read and write the same folder.
exec 9>"$2/.nightly.lock"
flock -n 9 || { echo "nightly.sh: another run is under way" >&2; exit 1; }

code=0
chestx predict "$inbox" --output "$night" --quiet --log-json 2>>"$2/nightly.log" || code=$?
case $code in
  0) echo "$night: all files were read" ;;
  3) echo "$night: some files could not be read; filter results.csv by status = failed" ;;
  *) echo "nightly.sh: the run of $(date +%F) did not happen, exit code $code; see $2/nightly.log" >&2 ;;
esac
exit "$code"
