# What the scripts of the benches share: places, free ports, processes that are ended by their id.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
target=${CARGO_TARGET_DIR:-$root/target}
driver=${DRIVER:-$target/release/driver}
scrollback=${SCROLLBACK:-$target/release/scrollback}
# A peer that no package of the distribution has; see peers/nats.
nats_server=${NATS_SERVER:-$target/peers/bin/nats-server}
# On the disk that is measured: ours, the floors and the peers all write below it.
scratch=${BENCH_DIR:-$target/bench}

die() {
    echo "$*" >&2
    exit 1
}

# A port of 127.0.0.1 that nobody listens on, below those the kernel hands out.
free_port() {
    local try port
    for ((try = 0; try < 100; try++)); do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    die "no free port"
}

# Waits until PID listens on PORT.
await_port() {
    local pid=$1 port=$2 try
    for ((try = 0; try < 1200; try++)); do
        kill -0 "$pid" 2>/dev/null || die "process $pid ended before it listened"
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            return
        fi
        sleep 0.05
    done
    die "process $pid does not listen on port $port"
}

# Waits until PID has said in FILE where it listens, and prints HOST:PORT.
await_address() {
    local pid=$1 file=$2 try address
    for ((try = 0; try < 1200; try++)); do
        # The shell that starts the process makes the file, in its own time.
        [[ -e $file ]] || { sleep 0.01; continue; }
        address=$(sed -n '/listening on/{s|.*http://\([^ /]*\).*|\1|p;q}' "$file")
        if [[ -n $address ]]; then
            echo "$address"
            return
        fi
        kill -0 "$pid" 2>/dev/null || die "process $pid ended before it listened: $(cat "$file")"
        sleep 0.05
    done
    die "process $pid does not listen"
}

# Ends a child of this shell, politely first.
stop() {
    local pid=$1 try
    kill -TERM "$pid" 2>/dev/null || return 0
    for ((try = 0; try < 400; try++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

# A fresh directory below the scratch directory.
fresh_dir() {
    mkdir -p "$scratch"
    mktemp -d "$scratch/$1.XXXXXX"
}
