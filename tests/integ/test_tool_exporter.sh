#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm exporter: Prometheus, OpenMetrics, health and the page, over a Unix socket and loopback, beside a daemon
# that runs, is stopped, is dead, was never there.  Dashboard and alerts name only what a scrape has.
. tests/lib/daemon.sh
tool=$KVSHM_BUILD/kvshm
dir=$TMPDIR/d
out=$TMPDIR/out
failed=0
exporter=

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; sed 's/^/# /' "$out" | head -n 30; failed=1; }
check() { local sentence=$1; shift; if "$@" >> "$out" 2>&1; then ok "$sentence"; else not_ok "$sentence"; fi; }

stop_exporter() { [ -n "$exporter" ] && kill "$exporter" 2> /dev/null && wait "$exporter"; exporter=; }
trap 'stop_exporter; daemon_cleanup' EXIT

# ask METHOD PATH [ACCEPT]: status and content type in the first line of $out, then the body
ask() {
	python3 - "$TMPDIR/m.sock" "$@" > "$out" 2>&1 <<'PY'
import http.client, socket, sys
where, method, path = sys.argv[1:4]
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(where)
c = Connection("localhost")
c.request(method, path, headers={"Accept": sys.argv[4]} if len(sys.argv) > 4 else {})
r = c.getresponse()
body = r.read()
print(r.status, r.headers["Content-Type"])
for name in ("Allow", "Content-Security-Policy"):
    if r.headers[name]:
        print(f"{name}: {r.headers[name]}")
sys.stdout.flush()
sys.stdout.buffer.write(body)
PY
}

# gives METHOD PATH STATUS PATTERN SENTENCE
gives() {
	ask "$1" "$2"
	if [ "$(head -n 1 "$out" | cut -d' ' -f1)" = "$3" ] && grep -q -- "$4" "$out"; then ok "$5"; else not_ok "$5"; fi
}

start_exporter() {	# start_exporter WHERE
	: > "$TMPDIR/exporter.log"	# or the line of the one before is taken for this one's
	"$tool" exporter --listen "$1" --socket "$daemon_socket" 2>> "$TMPDIR/exporter.log" &
	exporter=$!
	wait_until 20 grep -q 'listening' "$TMPDIR/exporter.log"
}

daemon_state_is() { [ "$(sed 's/.*) //' "/proc/$daemon_pid/stat" | cut -c1)" = "$1" ]; }

daemon_socket=$dir/run/kvshm.sock
start_exporter "$TMPDIR/m.sock"
gives GET /metrics 200 '^kvshm_up{daemon="main"} 0$' 'without a daemon the scrape says so'
gives GET /healthz 200 'runs' 'and the exporter is healthy'
gives GET /livez 503 'not here' 'and nothing is live'
gives GET / 200 'no daemon' 'and the page says so'

start_daemon "$dir" || { echo "not ok - the daemon starts"; sed 's/^/# /' "$dir/log"; exit 1; }
"$tool" load --procs 2 --seconds 1 --socket "$daemon_socket" > "$out" 2>&1 || not_ok 'a load fills it'
gives GET /metrics 200 '^kvshm_up{daemon="main"} 1$' 'a running daemon is up'
cp "$out" "$TMPDIR/scrape"
gives GET /livez 200 'running' 'and live'
gives GET /readyz 200 '^ready' 'and ready'
gives GET /nothing 404 'not here' 'another path is not there'
gives POST /metrics 405 '^Allow: GET, HEAD' 'only GET and HEAD are answered'
gives DELETE / 405 '^Allow: GET, HEAD' 'nothing can be deleted'
ask HEAD /metrics
[ "$(wc -l < "$out")" = 2 ] && head -n 1 "$out" | grep -q '^200 text/plain; version=0.0.4' && ok 'HEAD has no body' || not_ok 'HEAD has no body'

# every metric of the list is in both forms, with its type, and its value is that of the page
cat > "$TMPDIR/compare.py" <<'PY'
import json, re, sys, time
defs = re.findall(r'^METRIC\((\w+), "(\w+)", (\w+), (\w+), "(.*)"\)', open("kvshm/stats/metrics.def").read(), re.M)
assert len(defs) > 50
text, openmetrics = open(sys.argv[1]).read(), open(sys.argv[2]).read()
assert openmetrics.endswith("# EOF\n")
for _, name, kind, unit, help_ in defs:
    served = re.sub("_ns(_total)?$", r"_seconds\1", name)
    family = served[:-6] if served.endswith("_total") else served
    for form, typed in ((text, served), (openmetrics, family)):
        assert f"# TYPE {typed} {kind.lower()}\n" in form, typed
        assert f"# HELP {typed} {help_}\n" in form, typed
        assert len(re.findall(rf'^{served}{{daemon="main"}} \S+$', form, re.M)) == 1, served
hists = re.findall(r'^HIST\(\w+, "(\w+)_[nm]s", "(.*?)", "(.*)"\)', open("kvshm/stats/hists.def").read(), re.M)
assert len(hists) > 5
for name, label, help_ in hists:
    label = label.replace('\\"', '"')
    start = f'{name}_seconds_bucket{{daemon="main",' + (label + "," if label else "")
    for form in (text, openmetrics):
        assert f"# TYPE {name}_seconds histogram\n# " in form or f"# TYPE {name}_seconds histogram\n{name}" in form, name
        buckets = [(re.search('le="(.*?)"', line)[1], float(line.split()[-1])) for line in form.splitlines() if line.startswith(start)]
        counts = [n for _, n in buckets]
        assert len(buckets) == 21 and counts == sorted(counts) and buckets[-1][0] == "+Inf", (name, label)
        assert f'{name}_seconds_count{{daemon="main"{"," + label if label else ""}}} {counts[-1]:g}\n' in form, (name, label)
commits = re.search(r'^kvshm_op_seconds_count{daemon="main",op="commit"} (\S+)$', text, re.M)
assert float(commits[1]) > 0
assert float(re.search(r'^kvshm_block_residence_seconds_count{daemon="main"} (\S+)$', text, re.M)[1]) > 0
evicted = float(re.search(r'^kvshm_evictions_total{daemon="main"} (\S+)$', text, re.M)[1])
for life in ("residence", "idle_before_evict"):
    assert float(re.search(rf'^kvshm_block_{life}_seconds_count{{daemon="main"}} (\S+)$', text, re.M)[1]) <= evicted, life
started = float(re.search(r'^kvshm_start_time_seconds{daemon="main"} (\S+)$', text, re.M)[1])
assert 0 <= time.time() - started < 3600, started
assert len(re.findall(r'^kvshm_degraded{daemon="main",component="\w+"} [01]$', text, re.M)) == 5
assert len(re.findall(r'^kvshm_puts_dropped_total{daemon="main",reason="\w+"} \d+$', text, re.M)) == 5
states = [float(v) for v in re.findall(r'^kvshm_arena_bytes{daemon="main",state="\w+"} (\S+)$', text, re.M)]
capacity = float(re.search(r'^kvshm_arena_capacity_bytes{daemon="main"} (\S+)$', text, re.M)[1])
assert len(states) == 5 and sum(states) == capacity, (states, capacity)
names = [re.split("[ {]", line)[0] for line in text.splitlines()[1:] if line and line[0] != "#"]
assert all(n.startswith(("kvshm_", "process_")) for n in names if not n.startswith("Content-Security")), names
own = {n: float(re.search(rf"^process_{n} (\S+)$", text, re.M)[1]) for n in ("cpu_seconds_total", "resident_memory_bytes", "open_fds",
       "max_fds", "start_time_seconds")}
assert own["resident_memory_bytes"] > 1 << 20 and 3 < own["open_fds"] < own["max_fds"], own
assert 0 <= time.time() - own["start_time_seconds"] < 3600, own
PY
ask GET /metrics 'application/openmetrics-text; version=1.0.0'
head -n 1 "$out" | grep -q '^200 application/openmetrics-text; version=1.0.0' && cp "$out" "$TMPDIR/open" ||
	not_ok 'OpenMetrics is served to who asks for it'
check 'each metric of metrics.def is in both forms, and the states sum to the capacity' \
	python3 "$TMPDIR/compare.py" "$TMPDIR/scrape" "$TMPDIR/open"

gives GET / 200 "^Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'" 'the page may load nothing'
check 'the page is well formed, whole in itself, and shows what it must' python3 - "$out" <<'PY'
import html.parser, re, sys
page = open(sys.argv[1]).read().split("\n", 2)[2]
class Page(html.parser.HTMLParser):
    open_, tags, text = [], set(), ""
    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            assert name not in ("src", "srcset", "onload", "onclick"), (tag, name)
            assert name != "href" or value == "metrics", value
        if tag != "meta":
            self.open_.append(tag)
    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
    def handle_endtag(self, tag):
        assert self.open_.pop() == tag, tag
    def handle_data(self, data):
        self.text += data
p = Page()
p.feed(page)
assert not p.open_, p.open_
assert "script" not in p.tags and "svg" in p.tags
for what in ("hit ratio since the start", "published of the arena", "Clients", "wrong checksums 0", "look-ups a second",
             "op=commit", "op_service=commit", "block_residence", "P99.9", "Miss-ratio curve"):
    assert what in p.text, what
assert "prefers-color-scheme:dark" in page
assert not re.search(r"https?:|url\(|@import", page)
PY

if command -v promtool > /dev/null; then
	sed '1,2d' "$TMPDIR/scrape" > "$TMPDIR/scrape.prom"
	check 'promtool finds no fault in a scrape' promtool check metrics < "$TMPDIR/scrape.prom"
	check 'promtool finds no fault in the alerts' promtool check rules utils/dist/prometheus/kvshm.rules.yml
else
	echo 'ok - promtool finds no fault in a scrape # SKIP no promtool here (package prometheus)'
	echo 'ok - promtool finds no fault in the alerts # SKIP no promtool here (package prometheus)'
fi
python3 tests/lib/age_events.py "$dir/run/events"
"$tool" exporter --print /metrics --socket "$daemon_socket" > "$TMPDIR/scrape" 2> "$out"
check 'the miss-ratio curve is in a scrape, from an eighth of the arena to sixteen times' \
	[ "$(grep -c '^kvshm_mrc_hit_ratio{daemon="main",namespace="1",of_capacity="[0-9.]*"} [0-9.]*$' "$TMPDIR/scrape")" = 8 ]
check 'each metric and label that dashboard and alerts name is in the scrape' \
	python3 utils/dist/check_expressions.py "$TMPDIR/scrape" utils/dist/grafana/kvshm.json utils/dist/prometheus/kvshm.rules.yml
sed 's/kvshm_evictions_total/kvshm_evitcions_total/' utils/dist/prometheus/kvshm.rules.yml > "$TMPDIR/bad.yml"
python3 utils/dist/check_expressions.py "$TMPDIR/scrape" "$TMPDIR/bad.yml" > "$out" 2>&1
[ $? = 1 ] && grep -q 'no metric kvshm_evitcions_total' "$out" && ok 'a name that no scrape has is noticed' || not_ok 'a name that no scrape has is noticed'

kill -STOP "$daemon_pid"
wait_until 10 daemon_state_is T
gives GET /metrics 200 '^kvshm_up{daemon="main"} 0$' 'a stopped daemon is not up'
gives GET /metrics 200 '^kvshm_publishes_total{daemon="main"} [1-9]' 'and its last figures are served'
gives GET /livez 503 'stopped' 'nor live'
gives GET /readyz 503 'not ready: stopped' 'nor ready'
gives GET / 200 'STALE' 'and the page says that it is stale'
kill -CONT "$daemon_pid"
stop_daemon "$dir" KILL
gives GET /metrics 200 '^kvshm_up{daemon="main"} 0$' 'a dead daemon is not up'
gives GET / 200 '>dead<' 'and the page says so'

gives GET /healthz 200 'runs' 'the exporter has lived through all of it'
"$tool" exporter --listen "$TMPDIR/m.sock" --socket "$daemon_socket" > "$out" 2>&1
[ $? = 1 ] && grep -q 'Address already in use' "$out" && ok 'a second exporter on the socket is refused' || not_ok 'a second exporter on the socket is refused'
kill -KILL "$exporter"; wait "$exporter" 2> /dev/null
start_exporter "$TMPDIR/m.sock"
gives GET /healthz 200 'runs' 'the socket of a killed one is taken over'
kill -TERM "$exporter"; wait "$exporter"
[ $? = 0 ] && [ ! -e "$TMPDIR/m.sock" ] && ok 'SIGTERM ends it, and its socket is gone' || not_ok 'SIGTERM ends it, and its socket is gone'
exporter=

start_exporter 127.0.0.1:0
port=$(sed -n 's/.*127\.0\.0\.1:\([1-9][0-9]*\)$/\1/p' "$TMPDIR/exporter.log")
check 'it serves on loopback, and says on which port' python3 -c '
import sys, urllib.request
assert b"kvshm_up" in urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/metrics", timeout=20).read()' "$port"
stop_exporter
for bad in x 99999 1.2.3:80 '[::1:80' ''; do
	"$tool" exporter --listen "$bad" > "$out" 2>&1
	[ $? = 2 ] || not_ok "--listen $bad is a usage error"
done
"$tool" exporter --print /metrics --socket "$TMPDIR/none/kvshm.sock" > "$out" 2>&1
[ $? = 0 ] && grep -q '^kvshm_up{daemon="main"} 0$' "$out" && ok '--print prints an answer' || not_ok '--print prints an answer'
exit $failed
