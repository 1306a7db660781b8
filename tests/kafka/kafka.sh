#!/usr/bin/env bash
# Real Apache Kafka for tests and benchmarks, without Docker: one broker, or three, in KRaft combined mode.
# Everything a cluster is (settings, data, logs, process ids) stands in one folder; remove it to start afresh.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: kafka.sh COMMAND [OPTION]...
  install                                        fetch the jars once; print the folder that holds them
  start  [--dir DIR] [--brokers 1|3] [--port P]  start, wait until it answers, print the bootstrap address
  stop   [--dir DIR]                             stop every broker and wait until it is gone
  kill9  [--dir DIR] [--broker N]                SIGKILL one broker, or all
  resume [--dir DIR] [--broker N]                start one broker, or all, again on the same data and wait
  freeze [--dir DIR] [--broker N]                SIGSTOP one broker, or all
  wake   [--dir DIR] [--broker N]                SIGCONT one broker, or all, and wait until it answers

DIR defaults to target/kafka of this checkout. Brokers are numbered from 1; broker N listens on 127.0.0.1 at port
P+N-1 (P defaults to 19092), its controller ten above. A DIR keeps the broker count and the port it was given.
Logs: DIR/broker-N.log. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 Java or Maven missing.
Tools: java -cp "$(kafka.sh install)/*" org.apache.kafka.tools.TopicCommand --bootstrap-server ...
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly wait_seconds_max=120
readonly stop_seconds_max=30

# Set by the options, then by what the cluster in `dir` was made with.
dir=$here/../../target/kafka
brokers='' port='' cluster_id=''
jars=''

say() { printf 'kafka.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
bad_usage() { say "$*"; usage >&2; exit 2; }
missing() { say "$1 is missing; on Debian: apt-get install $2"; exit 3; }

# ---- jars -----------------------------------------------------------------------------------------------------

# The folder's name carries the hash of pom.xml, so a changed pin never meets the jars of the old one.
jars_folder() {
    local version
    version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$here/pom.xml")
    printf '%s/ledger/kafka-%s-%s' "${XDG_CACHE_HOME:-$HOME/.cache}" "$version" "$(sha256sum "$here/pom.xml" | cut -c1-8)"
}

need_java() {
    local major=0
    if command -v java >/dev/null; then
        major=$(java -XshowSettings:properties -version 2>&1 | sed -n 's/.*java\.specification\.version = \([0-9]*\).*/\1/p')
    fi
    ((${major:-0} >= 17)) || missing 'Java 17 or newer' openjdk-17-jre-headless
}

install_jars() {
    need_java
    jars=$(jars_folder)
    [[ ! -d $jars ]] || return 0
    command -v mvn >/dev/null || missing 'Maven (mvn)' maven

    say "fetching the jars from Maven Central into $jars"
    local fetched
    mkdir -p "$(dirname "$jars")"
    fetched=$(mktemp -d "$jars.XXXXXX")
    if ! mvn -q -B -Dstyle.color=never --strict-checksums -f "$here/pom.xml" \
        dependency:copy-dependencies "-DoutputDirectory=$fetched" >&2; then
        rm -rf "$fetched"
        die 'mvn could not fetch the jars'
    fi
    # A rename: whoever sees the folder sees all of it. If somebody else was faster, theirs is as good.
    mv -T "$fetched" "$jars" 2>/dev/null || rm -rf "$fetched"
    [[ -d $jars ]] || die "could not create $jars"
}

# ---- a cluster and its brokers --------------------------------------------------------------------------------

client_port() { echo $((port + $1 - 1)); }
controller_port() { echo $((port + $1 + 9)); }

bootstrap_address() {
    local n addresses=()
    for ((n = 1; n <= brokers; n++)); do addresses+=("127.0.0.1:$(client_port "$n")"); done
    (IFS=, && echo "${addresses[*]}")
}

# Reads what DIR was made with, or makes it. The broker count and the id are for ever; the port may move while all
# is down. The id is random, so that clients can tell a new DIR from the old one.
open_cluster() {
    local wanted_brokers=$brokers wanted_port=$port n
    brokers=${brokers:-1}
    port=${port:-19092}
    if [[ -f $dir/cluster ]]; then
        # shellcheck source=/dev/null
        . "$dir/cluster"
    else
        cluster_id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | sed 's/=*$//; s/^-/A/')
    fi
    [[ ${wanted_brokers:-$brokers} == "$brokers" ]] ||
        die "$dir holds a cluster of $brokers broker(s); choose another --dir or remove it"
    if [[ ${wanted_port:-$port} != "$port" ]]; then
        for ((n = 1; n <= brokers; n++)); do
            ! running_pid "$n" >/dev/null || die "the cluster in $dir runs at port $port; stop it first"
        done
        port=$wanted_port
    fi
    printf 'brokers=%s\nport=%s\ncluster_id=%s\n' "$brokers" "$port" "$cluster_id" >"$dir/cluster.new"
    mv "$dir/cluster.new" "$dir/cluster"
}

write_settings() {
    local n voters=() copies=$brokers
    local in_sync_min=$((copies > 1 ? copies - 1 : 1))
    for ((n = 1; n <= brokers; n++)); do voters+=("$n@127.0.0.1:$(controller_port "$n")"); done

    for ((n = 1; n <= brokers; n++)); do
        cat >"$dir/broker-$n.properties" <<PROPERTIES
process.roles=broker,controller
node.id=$n
controller.quorum.voters=$(IFS=, && echo "${voters[*]}")
controller.listener.names=CONTROLLER
listeners=CLIENT://127.0.0.1:$(client_port "$n"),CONTROLLER://127.0.0.1:$(controller_port "$n")
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENT
log.dirs=$dir/broker-$n

# Topics are declared; a misspelt name must fail.
auto.create.topics.enable=false
default.replication.factor=$copies
min.insync.replicas=$in_sync_min
offsets.topic.replication.factor=$copies
offsets.topic.num.partitions=4
group.initial.rebalance.delay.ms=0

# After a kill -9 the controller refuses the returning broker until its old session has run out (default: 9 s).
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

# The cleaner's default buffer (128 MiB) would fill a sixth of the heap for one tiny topic.
log.cleaner.dedupe.buffer.size=8388608
PROPERTIES
    done
}

# The id of broker N's process, if it runs. Process ids are reused, so the command line must be ours.
running_pid() {
    local pid
    pid=$(cat "$dir/broker-$1.pid" 2>/dev/null) && [[ -n $pid ]] || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF "$dir/broker-$1.properties" || return 1
    echo "$pid"
}

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Somebody else on our port could answer for us, and hide that the broker could not bind.
need_free_ports() {
    local wanted
    for wanted in "$(client_port "$1")" "$(controller_port "$1")"; do
        ! port_answers "$wanted" || die "port $wanted is taken; choose another --port"
    done
}

launch() {
    local n=$1
    if [[ ! -f $dir/broker-$n/meta.properties ]]; then
        java -Xmx128m -XX:TieredStopAtLevel=1 -Dlog4j2.level=WARN -cp "$jars/*" kafka.tools.StorageTool format \
            --cluster-id="$cluster_id" --config "$dir/broker-$n.properties" >>"$dir/broker-$n.log" 2>&1 </dev/null ||
            die "could not format the storage of broker $n, see $dir/broker-$n.log"
    fi

    # A session of its own, and none of our files open: it outlives the caller and never holds the caller's pipe.
    setsid java -Xms256m -Xmx768m -XX:+UseG1GC -Dlog4j2.level=WARN -cp "$jars/*" \
        kafka.Kafka "$dir/broker-$n.properties" </dev/null >>"$dir/broker-$n.log" 2>&1 9>&- &
    echo $! >"$dir/broker-$n.pid"
}

# Asks broker N for its metadata (Kafka protocol: Metadata v1, no topics) and looks for N itself in the answer.
# A broker lists itself once the controller has let it in, which is later than the first accepted connection.
# Spoken by hand because a JVM for each try would cost more than the broker's own start.
answers() {
    local n=$1 request='\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\0\0\0\0' entry answer
    # node id, length of the host's name, the name, port
    entry=$(printf '%08x0009%s%08x' "$n" "$(printf 127.0.0.1 | od -An -v -tx1 | tr -d ' ')" "$(client_port "$n")")
    answer=$({
        printf '%b' "$request" >&3
        size=$(timeout 2 head -c 4 <&3 | od -An -v -tx1 | tr -d ' \n')
        [[ -n $size ]] && timeout 2 head -c "$((16#$size))" <&3 | od -An -v -tx1 | tr -d ' \n'
    } 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$(client_port "$n")") || return 1
    [[ $answer == *"$entry"* ]]
}

wait_until_answering() {
    local n deadline=$((SECONDS + wait_seconds_max))
    for n in "$@"; do
        until answers "$n"; do
            kill -0 "$(<"$dir/broker-$n.pid")" 2>/dev/null || die "broker $n ended while starting, see $dir/broker-$n.log"
            ((SECONDS < deadline)) || die "broker $n did not answer within $wait_seconds_max s, see $dir/broker-$n.log"
            sleep 0.1
        done
    done
}

# Waits until the processes given are gone; false if one is left after the seconds given first.
wait_until_gone() {
    local deadline=$((SECONDS + $1)) n
    shift
    for n in "$@"; do
        while running_pid "$n" >/dev/null; do
            ((SECONDS < deadline)) || return 1
            sleep 0.1
        done
        rm -f "$dir/broker-$n.pid"
    done
}

signal() {
    local signal=$1 n pid
    shift
    for n in "$@"; do
        if pid=$(running_pid "$n"); then kill "-$signal" "$pid" 2>/dev/null || true; fi
    done
}

# ---- commands -------------------------------------------------------------------------------------------------

# Leaves alone what already runs, so a repeated start only prints the address.
start() {
    local n down=()
    for n in "$@"; do running_pid "$n" >/dev/null || down+=("$n"); done
    # All ports before the first process: a refusal leaves nothing half started.
    for n in "${down[@]}"; do need_free_ports "$n"; done
    for n in "${down[@]}"; do launch "$n"; done
    wait_until_answering "$@"
    bootstrap_address
}

resume() { start "$@"; }

stop() {
    signal TERM "$@"
    # A frozen one hears it only when it wakes.
    signal CONT "$@"
    wait_until_gone "$stop_seconds_max" "$@" && return
    say "not stopped after $stop_seconds_max s, killing"
    kill9 "$@"
}

kill9() {
    signal KILL "$@"
    wait_until_gone "$stop_seconds_max" "$@" || die 'a killed broker is still there'
}

need_running() {
    local n
    for n in "$@"; do running_pid "$n" >/dev/null || die "broker $n does not run"; done
}

freeze() {
    need_running "$@"
    signal STOP "$@"
}

wake() {
    need_running "$@"
    signal CONT "$@"
    wait_until_answering "$@"
}

main() {
    local command=${1-} broker='' all
    [[ $# == 0 ]] || shift
    while (($#)); do
        [[ $# -ge 2 ]] || bad_usage "$1 needs a value"
        case $command:$1 in
            *:--dir) dir=$2 ;;
            start:--brokers) [[ $2 == [13] ]] || bad_usage '--brokers is 1 or 3'; brokers=$2 ;;
            start:--port) [[ $2 =~ ^[1-9][0-9]{3,4}$ && $2 -le 65500 ]] || bad_usage '--port is 1000 to 65500'; port=$2 ;;
            kill9:--broker | resume:--broker | freeze:--broker | wake:--broker) broker=$2 ;;
            *) bad_usage "unknown option $1 of ${command}" ;;
        esac
        shift 2
    done

    case $command in
        install) install_jars; echo "$jars"; return ;;
        start | resume) install_jars ;;
        stop | kill9 | freeze | wake) ;;
        '' | help | -h | --help) usage; return ;;
        *) bad_usage "unknown command $command" ;;
    esac

    dir=$(realpath -m "$dir")
    if [[ $command == start ]]; then
        mkdir -p "$dir"
    elif [[ ! -f $dir/cluster ]]; then
        [[ $command != stop ]] || return 0
        die "no cluster in $dir"
    fi
    # One command at a time on a folder: tests may run side by side.
    exec 9>"$dir/lock"
    flock 9

    open_cluster
    [[ -z $broker || ($broker == [1-9] && $broker -le $brokers) ]] || bad_usage "--broker is 1 to $brokers"
    [[ $command != start ]] || write_settings
    if [[ -n $broker ]]; then
        "$command" "$broker"
    else
        mapfile -t all < <(seq "$brokers")
        "$command" "${all[@]}"
    fi
}

main "$@"
