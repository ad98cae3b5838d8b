#!/bin/sh
# An agent in plain shell: one line every two seconds, a friendly word when it is asked to stop.
trap 'echo "ticker: stopping"; exit 0' TERM
echo "ticker: started as pid $$"
n=0
while :; do
    n=$((n + 1))
    echo "ticker: tick $n"
    sleep 2 &
    wait $!
done
