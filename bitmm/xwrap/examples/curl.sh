#!/bin/sh
# The server by curl: an order with a key, the same again, what became of the key, and a refusal.
#
#     XWRAP_USER=ann XWRAP_PASSWORD=... sh curl.sh ID        ID is that of a registration on paper
set -eu
url=${XWRAP_URL:-http://localhost:8000}
registration=$url/exchanges/$1

# Other users of the machine can read arguments, so the password goes by standard input.
login=$(printf %s "$XWRAP_USER:$XWRAP_PASSWORD" | sed 's/[\\"]/\\&/g')
call() {
    printf 'user = "%s"\n' "$login" | curl --silent --show-error --config - "$@"
    echo
}

call "$registration/exchange_rate?from=USD&to=BTC"
call "$registration/balance"

key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
order="--data currency=USD --data asset=BTC --data amount=0.01"
# Amounts are text, in the answers, too. The same key is the same order: the second call buys nothing.
call --header "Idempotency-Key: $key" $order "$registration/buy"
call --header "Idempotency-Key: $key" $order "$registration/buy"

# When the answer was lost: what became of it?
call "$registration/orders/?key=$key"

# A refusal has words to show in "detail", and a stable "code" for programs.
call $order --data price=-1 "$registration/buy"
