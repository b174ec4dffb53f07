#!/bin/sh
# The command line of the installed agent; scripts/install.sh copies this file to /usr/local/bin/swellsight.
current=/opt/swellsight/current
: "${SWELLSIGHT_CONFIG:=/etc/swellsight/swellsight.yaml}"
export SWELLSIGHT_CONFIG

if [ "$(id -u)" = 0 ] && getent passwd swellsight >/dev/null; then
  # As the service user, so that all files in the state directory stay writable for the service. The one capability
  # lets it read what only root can: the secrets, and the files that the command line names. The command line keeps it
  # from the programs that it starts (src/cli/ambient-capabilities.ts).
  : "${CREDENTIALS_DIRECTORY:=/etc/swellsight/secrets}"
  HOME=/var/lib/swellsight
  export CREDENTIALS_DIRECTORY HOME
  exec setpriv --reuid=swellsight --regid=swellsight --init-groups \
    --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search --bounding-set=-all,+dac_read_search \
    "$current/node/bin/node" "$current/dist/main.js" "$@"
fi
exec "$current/node/bin/node" "$current/dist/main.js" "$@"
