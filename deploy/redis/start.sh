#!/bin/sh
# start.sh redis-server [option …]: starts Redis with one user for each service and none beside them. The passwords come
# from the environment, at every start; Redis gets their hashes.
set -eu
umask 077

hash_of() {
  case $2 in
  *[!A-Za-z0-9_-]* | '')
    echo "$1 must be letters, digits, \"_\" and \"-\": it becomes part of a URL." >&2
    exit 1
    ;;
  esac
  printf %s "$2" | sha256sum | cut -d ' ' -f 1
}
gateway=$(hash_of REDIS_GATEWAY_PASSWORD "${REDIS_GATEWAY_PASSWORD-}")
issuer=$(hash_of REDIS_ISSUER_PASSWORD "${REDIS_ISSUER_PASSWORD-}")
revoker=$(hash_of REDIS_REVOKER_PASSWORD "${REDIS_REVOKER_PASSWORD-}")

# What BullMQ sends by itself, and what its scripts call: they have the rights of the user who runs them.
connect='+ping +info +time +client|setname +multi +exec +eval +evalsha'
set_alarms='+del +exists +get +hget +hmget +hmset +hset +incr +lindex +llen +lpos +lpush +lrange +persist +pttl +rpop
  +rpush +sadd +scard +set +xadd +zadd +zcard +zcount +zrange +zrem +zrevrangebyscore +zscore'
count_requests='+expire +incrby'
take_alarms='+bzpopmin +hdel +hexists +hgetall +hincrby +lrem +ltrim +pexpire +rpoplpush +smembers +srem +xtrim +zpopmin
  +zrangebyscore +zremrangebyrank +zremrangebyscore +zrevrange'

folder=${TMPDIR:-/tmp}/leasehold-redis
mkdir -p "$folder"
user() { echo user "$@"; }
{
  user default off
  # shellcheck disable=SC2086 # words
  user gateway on "#$gateway" '~leasehold:*' -@all $connect $set_alarms $count_requests
  # shellcheck disable=SC2086
  user issuer on "#$issuer" '~leasehold:*' -@all $connect $set_alarms
  # shellcheck disable=SC2086
  user revoker on "#$revoker" '~leasehold:*' -@all $connect $set_alarms $take_alarms
} >"$folder/users.acl"

unset REDIS_GATEWAY_PASSWORD REDIS_ISSUER_PASSWORD REDIS_REVOKER_PASSWORD
# An alarm that Redis acknowledged outlives it, and none is dropped to make room. Who may come is said above, so every
# address may.
exec "$@" --aclfile "$folder/users.acl" --protected-mode no \
  --appendonly yes --appendfsync everysec --save '' --maxmemory-policy noeviction
