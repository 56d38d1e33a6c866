#!/bin/sh
# start.sh rabbitmq-server [argument …]: starts RabbitMQ with one user for each service and none beside them. The passwords
# come from the environment, at every start: one that changed there is changed.
set -eu
umask 077

check() {
  case $2 in
  *[!A-Za-z0-9_-]* | '')
    echo "$1 must be letters, digits, \"_\" and \"-\": it becomes part of a URL." >&2
    exit 1
    ;;
  esac
}
check RABBITMQ_GATEWAY_PASSWORD "${RABBITMQ_GATEWAY_PASSWORD-}"
check RABBITMQ_ISSUER_PASSWORD "${RABBITMQ_ISSUER_PASSWORD-}"
check RABBITMQ_REVOKER_PASSWORD "${RABBITMQ_REVOKER_PASSWORD-}"

folder=${TMPDIR:-/tmp}/leasehold-rabbitmq
mkdir -p "$folder"

# Commands and answers go through the default exchange, events through their own.
cat >"$folder/definitions.json" <<EOF
{
  "vhosts": [{ "name": "/" }],
  "users": [
    { "name": "gateway", "password": "$RABBITMQ_GATEWAY_PASSWORD", "tags": [] },
    { "name": "issuer", "password": "$RABBITMQ_ISSUER_PASSWORD", "tags": [] },
    { "name": "revoker", "password": "$RABBITMQ_REVOKER_PASSWORD", "tags": [] }
  ],
  "permissions": [
    { "vhost": "/", "user": "gateway", "configure": "^$", "write": "^amq\\\\.default$", "read": "^$" },
    {
      "vhost": "/",
      "user": "issuer",
      "configure": "^leasehold\\\\.commands(\\\\.held)?$",
      "write": "^amq\\\\.default$",
      "read": "^leasehold\\\\.commands(\\\\.held)?$"
    },
    {
      "vhost": "/",
      "user": "revoker",
      "configure": "^leasehold\\\\.events$",
      "write": "^leasehold\\\\.events$",
      "read": "^$"
    }
  ]
}
EOF

# With definitions the server makes no user of its own, so there is no guest.
cat >"$folder/rabbitmq.conf" <<EOF
load_definitions = $folder/definitions.json
log.console = true
EOF
unset RABBITMQ_GATEWAY_PASSWORD RABBITMQ_ISSUER_PASSWORD RABBITMQ_REVOKER_PASSWORD
export RABBITMQ_CONFIG_FILE="$folder/rabbitmq.conf"
exec "$@"
