#!/bin/bash
# test_heliosctl.sh HELIOSCTL DATA - the tool from outside: each command, its output, its exit code.
set -u
tool=$(realpath "$1") data=$(realpath "$2")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
export LC_ALL=C NO_COLOR=1
bad=0

fail() { echo "FAILED: $*"; bad=$((bad + 1)); }
# expect CODE COMMAND...: the exit code; output is left in out and err.
expect() {
    local code=$1 got
    shift
    "$tool" "$@" >out 2>err </dev/null
    got=$?
    [ $got -eq "$code" ] || { fail "heliosctl $*: exit code $got, wanted $code"; cat out err; }
}
# says FILE TEXT: a line of the last output is exactly TEXT. has: it contains TEXT.
says() { grep -qxF -- "$2" "$1" || { fail "$1 lacks the line: $2"; cat "$1"; }; }
has() { grep -qF -- "$2" "$1" || { fail "$1 lacks: $2"; cat "$1"; }; }
lines() { [ "$(wc -l <"$1")" -eq "$2" ] || { fail "$1 has $(wc -l <"$1") lines, wanted $2"; cat "$1"; }; }

# ---- help and usage ----
expect 0 --help
has out 'Exit codes:'
expect 0 --version
expect 2
expect 2 nonsense
expect 0 help get
expect 2 help nonsense
for command in create put get delete scan count load export stats tree verify flush compact checkpoint destroy salvage dump bench \
    shell history log 'tag create' 'tag list' 'tag show' 'tag drop' pins retention \
    'branch list' 'branch create' 'branch info' 'branch rename' 'branch metadata' 'branch drop' diff merge revert \
    changes deltas 'feed start' 'feed stop' 'feed stats' 'feed trim' 'consumer list' 'consumer drop' consumers; do
    # shellcheck disable=SC2086
    expect 0 $command --help
    has out "heliosctl $command"
done
expect 2 get db
expect 2 scan db --limit ten
expect 2 put db 'bad\escape' v

# ---- create, put, get, delete ----
expect 1 get absent.db key
has err 'next:'
[ ! -e absent.db ] || fail "a failed open left something behind"
expect 0 create db
expect 2 create db
expect 0 create db --if-missing
expect 0 put db fruit apple
expect 0 get db fruit
says out apple
expect 0 put db 'a\x00b' '\xff\\'
expect 2 get db 'zz' --hex
expect 0 get db 610062 --hex
says out ff5c
expect 0 get db 'a\x00b' --raw
[ "$(od -An -tx1 <out | tr -d ' \n')" = ff5c ] || fail "--raw changed the value"
expect 1 get db nothing
expect 1 get db fruit nothing
says out "$(printf 'fruit\tapple')"
expect 1 get db nothing --json
says out '{"key":"nothing","found":false}'
expect 0 put db '' 'the empty key'
expect 0 get db ''
says out 'the empty key'
printf 'line 1\nline 2' >value
expect 0 put db file --file value
expect 0 get db file --raw
cmp -s out value || fail "--file changed the value"
expect 0 scan db
lines out 4
says out "$(printf 'file\tline 1\\x0aline 2')"
expect 0 scan db --json --prefix fr
has out '"key":"fruit","value":"apple"'
expect 0 delete db '' file
expect 0 delete db never-there
expect 0 count db
says out 2
expect 2 delete db
expect 2 put db "$(head -c 70000 /dev/zero | tr '\0' k)" v

# ---- load ----
expect 0 load db "$data/airports.csv" --key iata --prefix airport:
expect 0 count db --prefix airport: --json
says out '{"count":3376}'
expect 0 get db airport:JFK
has out '"city":"New York"'
expect 6 load db "$data/airports.csv" --key iata --prefix airport:
has err 'airports.csv:2: the key "airport:00M" is in the database already'
has err '... and 3356 more bad lines'
expect 0 load db "$data/airports.csv" --key iata --prefix airport: --replace
expect 0 load db "$data/birdstrikes.csv" --key 'Origin State' --row-number --prefix strike: --batch 1000
has out '10,000 rows'
expect 0 count db --prefix strike:
says out 10000
expect 2 load db "$data/airports.csv" --key nothing
has err 'it has: iata, name'
expect 2 load db "$data/airports.csv"
expect 1 load db no-such-file.csv --key a
has err 'No such file or directory'
expect 3 load db "$scratch" --format csv --key a
has err 'Is a directory'

printf 'id,text\n1,plain\n2,"with ""quotes"", and\na second line"\n3, spaces \n\n4,\n' >good.csv
expect 0 load db good.csv --key id --prefix good:
expect 0 get db good:2
says out '{"id":"2","text":"with \"quotes\", and\na second line"}'
expect 0 get db good:3
says out '{"id":"3","text":" spaces "}'
printf 'id,text\n1,fine\n2,too,many\n3,"open\n4,x\n' >bad.csv
expect 6 load db bad.csv --key id --prefix bad:
has err 'bad.csv:3: 3 fields where the header has 2'
has err 'bad.csv:4: a quote is opened here and never closed'
has err 'nothing was loaded'
expect 0 count db --prefix bad:
says out 0
expect 6 load db bad.csv --key id --prefix bad: --batch 1
expect 0 count db --prefix bad:
says out 0
expect 6 load db bad.csv --key id --prefix bad: --keep-going
says out '2 bad lines left out'
expect 0 count db --prefix bad:
says out 1
printf 'id,text\n1,a"b\n2,fine\n' >quote.csv
expect 6 load db quote.csv --key id --prefix quote: --keep-going
has err 'quote.csv:2:'
expect 0 get db quote:2
printf 'id\n1\n2\n1\n' >twice.csv
expect 6 load db twice.csv --key id --prefix twice:
has err 'twice.csv:4: the key "twice:1" stands in line 2 already'
expect 0 load db twice.csv --key id --prefix twice: --replace
printf 'a,a\n1,2\n' >same.csv
expect 6 load db same.csv --key a
: >empty.csv
expect 6 load db empty.csv --key a
printf '\xef\xbb\xbfid,n\r\n1,x\r\n' >windows.csv
expect 0 load db windows.csv --key id --prefix windows:
expect 0 get db windows:1
says out '{"id":"1","n":"x"}'
printf 'id,n\n1,\xff\n' >latin.csv
expect 6 load db latin.csv --key id
has err 'is not UTF-8'

printf '{"id":7,"tags":["a","b"]}\n\n{"id":"x","n":1.50}\n' >rows.ndjson
expect 0 load db rows.ndjson --key id --prefix nd:
expect 0 get db nd:7 nd:x
says out "$(printf 'nd:x\t{"id":"x","n":1.50}')"
printf '{"id":1}\n{"id":\n[1]\n{"no":1}\n' >bad.ndjson
expect 6 load db bad.ndjson --key id --prefix ndbad:
has err 'bad.ndjson:2: not JSON'
has err 'bad.ndjson:3: not one JSON object'
has err 'bad.ndjson:4: there is no field "id"'
printf 'id\ttext\n1\ta\\tb\n' >tabs.tsv
expect 0 load db tabs.tsv --key id --prefix tabs:
expect 0 get db tabs:1
says out '{"id":"1","text":"a\tb"}'
"$tool" load db - --format csv --key id --prefix pipe: <good.csv >out 2>err || fail "load from a pipe"
"$tool" load db - --format csv --key id --prefix pipe2: --batch 1 < <(cat good.csv) >out 2>err && fail "a pipe read twice"
"$tool" load db - --format csv --key id --prefix pipe2: --batch 1 --keep-going --acknowledge < <(cat good.csv) >out 2>err || fail "--batch from a pipe"
says out 'committed 4'

# ---- export, and back ----
expect 0 export db --prefix airport: --rows --format csv --output back.csv
says out '3,376 keys to back.csv'
python3 - "$data/airports.csv" back.csv <<'END' || fail "CSV does not come back"
import csv, sys
a, b = (list(csv.DictReader(open(name, newline=""))) for name in sys.argv[1:])
sys.exit(sorted(a, key=lambda row: row["iata"]) != b)
END
for format in ndjson csv tsv; do
    expect 0 export db --format $format --output all.$format
    expect 0 create copy-$format
    expect 0 load copy-$format all.$format --pairs
    "$tool" scan db >one 2>&1
    "$tool" scan copy-$format >two 2>&1
    cmp -s one two || { fail "export and load --pairs by $format differ"; diff one two | head -5; }
done
expect 6 export db --rows
has err 'is no JSON object'
expect 2 export db --format xml

# ---- scans ----
expect 0 scan db --prefix airport: --limit 2 --keys-only
says out airport:00M
lines out 2
expect 0 scan db --prefix airport: --limit 1 --reverse --keys-only
says out airport:ZZV
expect 0 scan db --from airport:JFK --to airport:JG --keys-only
says out airport:JFK
expect 2 scan db --prefix a --from b

# ---- looking inside ----
expect 0 flush db
expect 0 tree db
has out 'entries'
expect 0 tree db --json
python3 -c 'import json,sys; sys.exit(not json.load(open("out"))["levels"])' || fail "tree --json"
expect 0 stats db
has out disk
grep -q 'feed.bytes' out && fail "stats shows a 0"
expect 0 stats db --all
has out feed.bytes
expect 0 stats db --json
python3 -c 'import json; json.load(open("out"))' || fail "stats --json"
expect 0 compact db
expect 0 verify db
has out good
expect 0 verify db --json
for file in db/sst/*.sst; do
    expect 0 dump sst "$file"
    has out properties
    expect 0 dump sst "$file" --entries --json
done
for file in db/wal/*.wal; do
    expect 0 dump wal "$file" --entries
    has out segment
    expect 0 dump wal "$file" --json
done
expect 0 dump manifest db/MANIFEST-*
expect 0 dump manifest db/MANIFEST-* --json
has out '"what":"add","level":'
python3 -c 'import json; [json.loads(line) for line in open("out")]' || fail "dump manifest --json"
expect 2 dump nonsense db/CURRENT
expect 1 dump sst db/sst/99999999.sst
expect 4 dump sst "$data/airports.csv"

# ---- read points that need no look-up ----
json_lines() { python3 -c 'import json,sys; [json.loads(line) for line in open("out")]' || { fail "not JSON: $*"; cat out; }; }
expect 0 create past
expect 0 put past k one
expect 0 put past k two
expect 0 put past k three
expect 0 put past other x
expect 0 get past k --at 1
says out one
expect 0 get past k other --at 4
says out "$(printf 'k\tthree')"
expect 1 get past k other --at 2
says out "$(printf 'k\ttwo')"
expect 0 get past k --at latest
says out three
expect 1 get past k --at start
expect 1 get past k --at 0
expect 0 count past --at start
says out 0
expect 0 count past --at 3
says out 1
expect 0 scan past --at 2
says out "$(printf 'k\ttwo')"
lines out 1
expect 0 export past --at 2
says out '{"key":"k","value":"two"}'
expect 2 get past k --at 99
has err 'above the last commit'
for point in yesterday '10 parsecs ago' '10 minutes' 2026-02-30 '2026-11-21 25:00' '2026-11-21 10:00 CET' tag: ''; do
    for command in 'get past k' 'scan past' 'count past' 'export past' 'history past k' 'tag create past t'; do
        # shellcheck disable=SC2086
        expect 2 $command --at "$point"
        has err "--at \"$point\": "
        has err 'next: a point is 4711'
    done
done
expect 2 get past k --at 10m --json
python3 -c 'import json; e = json.load(open("err"))["error"]; assert e["exit_code"] == 2 and "ago" in e["message"] and "4711" in e["advice"]' || fail "a bad point as JSON"
expect 2 compact past --retention soon
has err '"soon" is no span of time such as 7d'
expect 2 tag
has err 'heliosctl tag create'
expect 0 tag --help
expect 0 help tag drop
has out 'heliosctl tag drop'
expect 2 tag nonsense past

# ---- times, history, log ----
sleep 0.01
between=$(date -u '+%F %T.%6N')
sleep 0.01
expect 0 put past k four
expect 0 delete past k
expect 1 get past k
expect 0 get past k --at "$between"
says out three
expect 0 get past k --at "${between/ /T}Z"
says out three
expect 0 get past k --at "$(date -d "$between UTC" --rfc-3339=ns | head -c 26)+00:00"
says out three
expect 1 get past k --at '10 minutes ago'
has err 'no key "k" in past at "10 minutes ago"'
expect 0 count past --at 1970-01-01
says out 0
expect 0 count past --at '1 us ago'
says out 1
expect 0 put past long "$(head -c 3000 /dev/zero | tr '\0' v)"
expect 0 history past k
lines out 6
grep -q '^ *6  20.*  delete *$' out || { fail "history: the delete"; cat out; }
grep -q '^ *1  20.*  put  *3 B  one$' out || { fail "history: the first put"; cat out; }
expect 0 history past k --at "$between" --limit 2
lines out 3
has out three
expect 0 history past k --json
json_lines history
python3 - <<'END' || fail "history --json"
import json
versions = [json.loads(line) for line in open("out")]
assert [v["seq"] for v in versions] == [6, 5, 3, 2, 1]
assert [v.get("value") for v in versions] == [None, "four", "three", "two", "one"]
assert versions[0]["change"] == "delete" and versions[1]["change"] == "put" and versions[1]["size"] == 4
assert versions[1]["time"].endswith("Z") and versions[0]["time_micros"] >= versions[1]["time_micros"]
END
expect 0 history past long
has out 'vvv...'
expect 0 history past long --json
[ "$(wc -c <out)" -gt 3000 ] || fail "history --json shortens values"
expect 0 history past 6f74686572 --hex
has out '  78'
expect 1 history past nothing
has err 'no version of "nothing"'
expect 1 history past k --at start
expect 0 log past
lines out 8
expect 0 log past --json
json_lines log
python3 - <<'END' || fail "log --json"
import json
commits = [json.loads(line) for line in open("out")]
assert [c["seq"] for c in commits] == [7, 6, 5, 4, 3, 2, 1]
assert all(c["operations"] == 1 for c in commits) and commits[6]["bytes"] == 4
END
expect 0 log past --limit 2 --oldest-first --json
[ "$(grep -o '"seq":[0-9]*' out | tr '\n' ' ')" = '"seq":1 "seq":2 ' ] || { fail "log --oldest-first"; cat out; }
expect 0 log past --from 2 --to 3 --json
lines out 2
expect 0 log past --from "$between" --json
lines out 3
expect 0 log past --to "$between" --json
lines out 4
expect 0 log past --from "10 minutes ago" --to now --json
lines out 7
expect 0 log past --from now --json
lines out 1
expect 0 log past --to start --json
lines out 0
expect 0 log past --from 3 --to 2 --json
lines out 0
expect 2 log past --from never
has err '--from "never": '

# ---- tags, pins ----
expect 0 tag list past
lines out 0
expect 0 tag create past first --at 1
has out first
expect 0 tag create past now-or-so
expect 0 tag create past three --at "$between" --json
json_lines tag create
expect 2 tag create past first
has err 'there is a tag "first" already'
expect 0 get past k --at tag:first
says out one
expect 0 scan past --prefix k --at tag:three
says out "$(printf 'k\tthree')"
expect 1 get past k --at tag:none
has err 'there is no tag "none"'
expect 0 tag list past
lines out 4
expect 0 tag list past --json
lines out 3
json_lines tag list
has out '"made":"20'
python3 -c 'import json; assert [(t["name"], t["seq"]) for t in map(json.loads, open("out"))] == [("first", 1), ("now-or-so", 8), ("three", 4)]' || fail "tag list --json"
expect 0 tag show past first
has out ' first'
expect 1 tag show past none
expect 1 tag drop past none
has err 'there is no tag "none"'
expect 0 tag drop past now-or-so
expect 1 tag show past now-or-so
expect 0 pins past
has out 'this point alone  first'
expect 0 pins past --json
json_lines pins
has out '"kind":"tag","owner":"first","seq":1'

# ---- retention: the tool lets nothing go unless it is told to ----
expect 0 retention past
has out 'horizon        none: all of history is there'
expect 0 flush past
expect 0 compact past
expect 0 load past "$data/airports.csv" --key iata
expect 0 compact past
expect 0 get past k --at 2
says out two
expect 0 retention past --set forever
expect 0 get past k --at 2
expect 2 retention past --set soon
expect 0 retention past --set none
has out 'of this open   none'
expect 7 get past k --at 2
has err 'it reaches back to commit'
has err 'next: read at that commit or later'
expect 7 count past --at 2 --json
python3 -c 'import json; e = json.load(open("err"))["error"]; assert e["exit_code"] == 7 and e["status"] == "HELIOS_HISTORY_GONE" and e["advice"]' || fail "history gone as JSON"
expect 7 tag create past too-late --at 2
expect 0 get past k --at tag:first
says out one
expect 0 count past --at tag:three
says out 2
expect 0 count past --at start
says out 0
expect 0 log past
has out 'History reaches back to commit'
expect 0 retention past --json
json_lines retention
python3 -c 'import json; r = json.load(open("out")); assert r["of_this_open"] == "forever" and r["horizon"] > 7 and r["oldest_pin"]["owner"] == "first"' || { fail "retention --json"; cat out; }
expect 0 stats past
has out horizon
printf 'put k five\nget k --at tag:first\ntag create shell\ntag list --json\npins\nretention\nretention --set 1h\nput k v --retention 1h\n' >script
"$tool" shell past <script >out 2>err
[ $? -eq 2 ] || fail "shell with history: exit code"
says out one
has out '"name":"shell"'
has out 'of this open   1 hour'
has err "the retention is the shell's"

# ---- branches: every command that reads or writes takes one ----
expect 0 create forks
expect 0 put forks a one
expect 0 put forks b two
expect 0 branch create forks fix
has out 'made fix, branch 1: main@2 and'
expect 0 branch create forks old --at 1 --json
json_lines branch create
has out '"name":"old","id":2,"state":"active","parent":"main","parent_id":0,"fork":1'
expect 0 branch create forks deep --from fix
expect 2 branch create forks fix
has err 'there is a branch "fix" already'
expect 2 branch create forks -- -x
expect 1 branch create forks y --from nobody
expect 0 put forks a ours
expect 0 put forks a theirs --branch fix
expect 0 put forks c new --branch '#1'
expect 0 delete forks b --branch fix
expect 0 get forks a
says out ours
expect 0 get forks a --branch fix
says out theirs
expect 0 get forks a --branch deep
says out one
expect 1 get forks c
expect 0 scan forks --branch fix
says out "$(printf 'a\ttheirs')"
lines out 2
expect 0 count forks --branch old
says out 1
expect 0 count forks --branch fix --at 2
says out 2
expect 0 export forks --branch fix
has out '{"key":"c","value":"new"}'
for command in 'get forks a' 'put forks a v' 'delete forks a' 'scan forks' 'count forks' 'export forks' 'history forks a' \
    'load forks good.csv --key id' 'tag create forks t' 'branch info forks' 'branch drop forks' 'diff forks main..nobody' \
    'merge forks' 'merge forks main --into' 'branch rename forks nobody x'; do
    case $command in
    *info* | *drop* | merge*) words="$command nobody" ;;
    diff* | *rename*) words=$command ;;
    *) words="$command --branch nobody" ;;
    esac
    # shellcheck disable=SC2086
    expect 1 $words
    has err 'there is no branch "nobody"'
done
expect 1 get forks a --branch '#9'
expect 1 get forks nothing --branch fix
has err 'no key "nothing" in forks on branch "fix"'
expect 0 load forks good.csv --key id --prefix good: --branch deep
expect 6 load forks good.csv --key id --prefix good: --branch deep
expect 0 count forks --prefix good:
says out 0
expect 0 count forks --prefix good: --branch deep
says out 4
expect 0 history forks a --branch fix
lines out 3
grep -q '  fix  *put .* theirs$' out || { fail "history says the branch"; cat out; }
grep -q '  main  *put .* one$' out || { fail "history says the ancestor"; cat out; }
expect 0 tag create forks fixed --branch fix
has out '  fix '
expect 0 get forks a --at tag:fixed
says out theirs
expect 0 get forks a --at tag:fixed --branch main
says out ours
expect 0 pins forks
has out '  tag          fix  '
expect 0 branch list forks
has out 'fix'
grep -q '^|- fix  *1  *2  20.*  active' out || { fail "branch list"; cat out; }
grep -q '^|  `- deep  *3  ' out || { fail "branch list: a child"; cat out; }
LC_ALL=C.UTF-8 "$tool" branch list forks | grep -q '^│  └─ deep' || fail "branch list with lines"
expect 0 branch list forks --json
lines out 4
json_lines branch list
expect 0 branch rename forks old '#1'
expect 0 get forks a --branch '#1' # names win
says out one
expect 0 branch rename forks '#1' older
expect 2 branch rename forks older fix
expect 2 branch rename forks main trunk
expect 0 branch drop forks older
expect 1 get forks a --branch older
expect 2 branch drop forks fix
expect 2 branch drop forks main
expect 0 branch list forks
grep -q older out && fail "branch list shows a dropped one"
expect 0 branch list forks --all
grep -q '^`- older .* dropped' out || { fail "branch list --all"; cat out; }
expect 2 log forks --branch fix
has err 'go with --graph'
expect 2 diff forks main
has err 'written A..B'
expect 2 diff forks main..fix@soon
has err '"fix@soon": '
expect 1 diff forks nobody..main
expect 2 merge forks fix --ours --theirs
expect 2 log forks --graph --from 1

# ---- metadata, info, lists of then ----
expect 0 branch metadata forks fix
says out ''
expect 0 branch metadata forks fix --set 'owner: \x00me'
expect 0 branch metadata forks fix
says out 'owner: \x00me'
printf 'from a file' >meta
expect 0 branch metadata forks fix --file meta
expect 0 branch metadata forks fix --raw
cmp -s out meta || fail "metadata from a file"
expect 2 branch metadata forks main --set x
expect 2 branch metadata forks fix --set x --file meta
expect 0 branch info forks deep
has out 'forked from    fix at '
has out 'forked from    main at 2, 20'
has out '(estimates; '
expect 0 branch info forks fix
has out 'metadata       from a file'
has out '1 live'
expect 0 branch info forks deep --json
json_lines branch info
python3 - <<'END' || { fail "branch info --json"; cat out; }
import json
info = json.load(open("out"))
assert info["name"] == "deep" and info["parent"] == "fix" and info["estimate"]["entries"] >= 4
assert [(a["branch"], a["at"]) for a in info["ancestors"]] == [("fix", info["fork"]), ("main", 2)]
END
expect 0 branch info forks main
expect 0 branch list forks --at 2 --json
python3 -c 'import json; assert [json.loads(l)["name"] for l in open("out")] == ["main"]' || { fail "branch list --at"; cat out; }
expect 0 branch list forks --at 4
has out old # as it was called then
expect 2 branch list forks --at 4 --all

# ---- diff ----
expect 0 create both
printf 'id,n\n1,one\n2,two\n3,three\n4,four\n' >rows.csv
expect 0 load both rows.csv --key id --prefix row:
expect 0 branch create both side
expect 0 diff both main..side
lines out 0
expect 0 put both row:1 ONE --branch side
expect 0 delete both row:2 --branch side
expect 0 put both row:5 'f\x00ve' --branch side
expect 9 diff both main..side
says out "$(printf '~ row:1\t{"id":"1","n":"one"} -> ONE')"
says out "$(printf -- '- row:2\t{"id":"2","n":"two"}')"
says out "$(printf '+ row:5\tf\\x00ve')"
lines out 3
expect 9 diff both side..main
says out "$(printf '+ row:2\t{"id":"2","n":"two"}')"
expect 9 diff both ..side --keys
says out '- row:2'
expect 9 diff both main..side --stat
says out '1 added, 1 removed, 1 changed'
expect 9 diff both main..side --stat --json
says out '{"added":1,"removed":1,"changed":1}'
expect 0 diff both main..side --stat --prefix row:3
says out '0 added, 0 removed, 0 changed'
expect 9 diff both main..side --from row:2 --to row:5
lines out 1
expect 9 diff both main..side --limit 1
lines out 1
expect 9 diff both main..side --json
json_lines diff
python3 - <<'END' || { fail "diff --json"; cat out; }
import json
changed, removed, added = (json.loads(line) for line in open("out"))
assert changed["change"] == "changed" and changed["key"] == "row:1" and changed["to"] == "ONE" and changed["to_seq"] > changed["from_seq"]
assert removed["change"] == "removed" and "to" not in removed and removed["from"].startswith("{")
assert added["change"] == "added" and "from_seq" not in added and added["to"] == "f\0ve"
END
expect 9 diff both main..side --json --keys
grep -q '"to"' out && fail "diff --keys gives values"
expect 0 diff both main@start..side@start
expect 9 diff both @start..@now --stat
expect 9 diff both start..main --stat # points of main
says out '4 added, 0 removed, 0 changed'
expect 9 diff both side@4..side --stat
says out '1 added, 1 removed, 1 changed'
expect 0 tag create both forked --branch side --at 4
expect 9 diff both 'tag:forked..#1' --keys
lines out 3
long=$(head -c 500 /dev/zero | tr '\0' v)
expect 0 put both long "$long-end"
expect 0 branch create both other
expect 0 put both long "$long-END" --branch other
expect 9 diff both main..other
grep -q 'long.*\.\.\.vv*-end -> \.\.\.vv*-END$' out || { fail "diff shows where long values part"; cat out; }
expect 9 diff both main..other --full
[ "$(wc -c <out)" -gt 1000 ] || fail "diff --full shortens"
expect 9 diff both --hex main..other
has out '~ 6c6f6e67'
expect 0 branch create both a..b
expect 0 diff both a..b..main # names win
expect 0 branch drop both a..b
expect 1 diff both main..tag:none

# ---- merge, revert, graph ----
expect 0 put both row:1 uno
expect 0 put both row:4 quattro
expect 8 merge both side
has out 'ours: main, theirs: side'
has out 'conflict row:1'
grep -q '^  base   *[0-9]*  20.*  {"id":"1","n":"one"}$' out || { fail "conflict: base"; cat out; }
grep -q '^  ours   *[0-9]*  20.*  uno$' out || { fail "conflict: ours"; cat out; }
grep -q '^  theirs   *[0-9]*  20.*  ONE$' out || { fail "conflict: theirs"; cat out; }
has err '1 conflict: nothing was merged'
has err 'next: --ours keeps'
expect 0 get both row:1
says out uno
expect 8 merge both side --json
json_lines merge
python3 - <<'END' || { fail "merge --json"; cat out; }
import json
conflict, result = (json.loads(line) for line in open("out"))
assert conflict["conflict"] == "row:1" and conflict["ours"]["value"] == "uno" and conflict["theirs"]["seq"] > conflict["base"]["seq"]
assert result["commit"] is None and result["conflicts"] == 1 and result["base_branch"] == "main"
END
expect 8 merge both side --dry-run
expect 0 merge both side --dry-run --theirs
has out 'merging side into main would mean: 2 keys set, 1 deleted, 1 conflict (theirs taken)'
expect 0 get both row:1
says out uno
expect 0 merge both side --theirs
has out 'merged side into main by commit'
has out '2 keys set, 1 deleted, 1 conflict (theirs taken)'
expect 0 scan both --prefix row:
says out "$(printf 'row:1\tONE')"
says out "$(printf 'row:4\tquattro')"
lines out 4
expect 0 merge both side
says out 'nothing to do: main contains side already'
expect 0 merge both main --into side
expect 0 diff both main..side
expect 2 merge both side --into side
expect 0 delete both row:3
expect 0 log both --limit 1 --json
last=$(grep -o '"seq":[0-9]*' out | cut -d: -f2)
expect 0 put both later x
expect 0 revert both main "$last" --dry-run
has out 'a revert would mean: 1 key set, 0 deleted'
expect 0 revert both main "$last..$last"
has out "took back $last to $last on main by commit"
expect 0 get both row:3
expect 0 get both later
expect 0 put both row:3 newer
expect 8 revert both main "$last"
expect 8 revert both main 1..4
has out "theirs: main before 1"
expect 2 revert both main 9..8
expect 2 revert both main start
expect 0 merge both other --close --theirs
has out 'merged other into main, closed it, by commit'
expect 3 put both x y --branch other
expect 0 branch list both
grep -q 'other .* merged ' out || { fail "branch list: merged"; cat out; }
expect 0 log both --graph
has out 'merge side@'
has out 'merge other@'
has out '(tag: forked)'
grep -q "^\*-.*' .*fork side" out || { fail "graph: the fork"; cat out; }
grep -q '^\*-.*merge other' out || { fail "graph: the merge"; cat out; }
grep -q '^| o .*(side)$' out || { fail "graph: the head"; cat out; }
LC_ALL=C.UTF-8 "$tool" log both --graph | grep -q '^●─.*merge other' || fail "graph with lines"
expect 0 log both --graph --limit 1
lines out 3
expect 0 branch create both apart
expect 0 log both --graph --branch side
grep -q 'apart' out && fail "graph --branch shows others"
expect 0 branch drop both apart
expect 0 log both --graph --json
json_lines log --graph
python3 - <<'END' || { fail "log --graph --json"; cat out; }
import json
events = [json.loads(line) for line in open("out")]
assert [e["branch"] for e in events if e["event"] == "head"] == ["main", "side"]
merges = [(e["source"], e["branch"]) for e in events if e["event"] == "merge"]
assert merges == [("other", "main"), ("main", "side"), ("side", "main")], merges
assert {(e["child"], e["seq"]) for e in events if e["event"] == "fork"} >= {("side", 4)}
seqs = [e["seq"] for e in events if e["event"] != "head"]
assert seqs == sorted(seqs, reverse=True)
END
printf 'merge side --into main\nbranch list\ndiff main..side --stat\n' >script
"$tool" shell both <script >out 2>err
[ $? -eq 9 ] || { fail "shell: branches"; cat out err; }

# ---- checkpoint, destroy, shell ----
expect 0 checkpoint db point
expect 0 count point --prefix airport:
says out 3376
expect 0 verify point
expect 2 destroy point
touch point/mine
expect 0 destroy point --yes
[ -e point/mine ] && [ "$(ls -A point)" = mine ] || fail "destroy: $(ls -A point)"
printf 'put s 1\nput "t u" 2\nscan --limit 2 --prefix s\nget "t u"\nget no\ncount --help\nquit\n' >script
"$tool" shell db <script >out 2>err
[ $? -eq 1 ] || fail "shell: exit code"
says out "$(printf 's\t1')"
says out 2

# ---- a reader that has enough ----
"$tool" scan db --keys-only 2>err | head -n 1 >out
[ "${PIPESTATUS[0]}" -eq 0 ] || fail "scan into head"
lines err 0
lines out 1

# ---- the change feed ----
# changes CODE TEXT ARGUMENT...: what stands behind lsn and time, without what ends lines at the terminal's width.
changes() {
    local code=$1 text=$2
    shift 2
    expect "$code" changes feed --full "$@"
    sed 1d out | cut -c43- | cmp -s - <(printf %b "$text") || { fail "changes $*"; cat out; }
}
expect 0 create feed
expect 1 changes feed
has err 'feed start'
expect 1 feed stats feed
expect 1 consumer list feed
expect 0 put feed unseen 1
expect 0 feed start feed
says out 'The change feed begins with 2'
expect 0 changes feed
lines out 0
expect 0 feed stats feed
says out 'first entry     none'
expect 0 put feed a one
expect 0 put feed a two
printf 'n,v\n1,x\n2,y\n' >rows.csv
expect 0 load feed rows.csv --key n --prefix row:
expect 0 branch create feed side
expect 0 put feed 'a\x00' three --branch side
expect 0 put feed a three --branch side
expect 0 delete feed --from row: --to 'row;'
expect 0 delete feed a
changes 0 '* + a\tone\n* + a\ttwo\n| + row:1\t{"n":"1","v":"x"}\n* + row:2\t{"n":"2","v":"y"}\n* [side] + a\\x00\tthree\n* [side] + a\tthree\n* -[row:, row;)\n* - a\n'
changes 0 '* + a\tone\n* ~ a\tone -> two\n* [side] + a\\x00\tthree\n* [side] ~ a\ttwo -> three\n* - a\ttwo\n' --before --prefix a
changes 0 '* [side] + a\\x00\tthree\n* [side] + a\tthree\n' --branch side
changes 0 '| - row:1\n* - row:2\n* - a\n' --from 9 --expand-ranges
changes 0 '* + a\ttwo\n| + row:1\t{"n":"1","v":"x"}\n' --from 3 --limit 2
changes 0 '* + a\tone\n* + a\ttwo\n' --to 3
changes 0 '* - a\n' --from 10 --to now
changes 0 '* - a\n' --from "$("$tool" log feed --limit 1 --json | sed 's/.*"time":"\([^"]*\)".*/\1/')"
expect 0 deltas feed a row: --since 2 --full
sed 1d out | cut -c43- | cmp -s - <(printf '* - a\tone\n') || { fail "deltas"; cat out; }
expect 0 deltas feed --full --since 4 # within a commit: from before it on
sed 1d out | cut -c43- | cmp -s - <(printf '* - a\ttwo\n') || { fail "deltas since a number within a commit"; cat out; }
expect 0 deltas feed --full --since 5
sed 1d out | cut -c43- | cmp -s - <(printf '* - row:1\t{"n":"1","v":"x"}\n* - row:2\t{"n":"2","v":"y"}\n* - a\ttwo\n') || { fail "deltas of all keys"; cat out; }
expect 0 deltas feed --branch side --since 6 a --full
has out '[side] + a\x00'
expect 0 deltas feed --count a row: --since 3
says out '           1  a'
lines out 1
expect 0 deltas feed a --since 2 --json
json_lines deltas
has out '"before":"one","after":null'
expect 2 deltas feed a ab
expect 2 deltas feed --since 4711
expect 7 deltas feed --since start
has err 'as of'
expect 0 deltas feed --since now
lines out 0
expect 0 changes feed --to start
lines out 0
expect 0 changes feed --from now
lines out 0
expect 0 changes feed --all-spaces --hex
has out '(space 255) '
expect 7 changes feed --from 1
has err 'next:'
expect 7 changes feed --from '1 hour ago' --json
expect 1 changes feed --branch nobody
expect 2 changes feed --format xml
changes 0 '* -[row:, row;)\n* - a\n' --kinds delete,delete_range
changes 0 '* - a\n' --kinds delete --origin self
expect 0 changes feed --origin 00000000000000000000000000000000
lines out 0
expect 2 changes feed --kinds puts
expect 2 changes feed --kinds ''
expect 2 changes feed --origin 00
expect 2 changes feed --follow --to now
expect 0 changes feed --json --before --from 2
json_lines changes
python3 - <<'END' || { fail "changes as JSON"; cat out; }
import json
c = [json.loads(line) for line in open("out")]
assert [x["op"] for x in c] == ["c", "u", "c", "c", "c", "u", "delete_range", "d"], [x["op"] for x in c]
assert [x["source"]["lsn"] for x in c] == [2, 3, 4, 5, 7, 8, 9, 10]
assert [x["source"]["commit"] for x in c] == [2, 3, 5, 5, 7, 8, 9, 10]
assert [x["source"]["commit_end"] for x in c] == [True, True, False, True, True, True, True, True]
assert c[0]["before"] is None and c[1]["before"] == "one" and c[1]["after"] == "two"
assert c[4]["key"] == "a\0" and c[4]["source"]["branch"] == "side" and c[5]["before"] == "two"
assert c[6]["key"] == "row:" and c[6]["key_end"] == "row;" and c[6]["after"] is None
assert c[7]["before"] == "two" and c[7]["after"] is None and c[7]["ts_us"] >= c[0]["ts_us"]
assert len(c[0]["source"]["origin"]) == 32 and c[0]["source"]["origin_lsn"] == 2
assert all(x["ts_ms"] == x["source"]["ts_ms"] == x["ts_us"] // 1000 for x in c)
END
expect 0 changes feed --json --limit 1
python3 -c 'import json; c = json.load(open("out")); assert c["op"] == "u" and "before" not in c' || fail "changes without what was before"

# A consumer goes on where what it wrote out ended, also within a commit and within the keys of a range.
changes 0 '* + a\tone\n* + a\ttwo\n| + row:1\t{"n":"1","v":"x"}\n' --consumer worker --limit 3
expect 0 consumer list feed
has out worker
expect 0 consumers feed
has out 'last there'
has out "$(date -u +%Y-%m-%d)"
expect 0 consumer list feed --json
has out '"name":"worker","acked":4,'
expect 0 feed trim feed --below now
says out '2 entries let go; nothing is kept below 4'
changes 0 '* + row:2\t{"n":"2","v":"y"}\n* [side] + a\\x00\tthree\n* [side] + a\tthree\n| - row:1\n' --consumer worker --expand-ranges --limit 4
expect 0 consumer list feed --json
has out '"acked":8,'
changes 0 '| - row:1\n* - row:2\n* - a\n' --consumer worker --expand-ranges
changes 0 '' --consumer worker # holds no history any more, which is a commit
changes 0 '' --consumer worker
expect 0 consumer list feed --json
cp out before
changes 0 '' --consumer worker
expect 0 consumer list feed --json
cmp -s out before || { fail "a consumer with nothing to read goes on writing"; cat before out; }
expect 0 feed stats feed --json
python3 -c 'import json; f = json.load(open("out")); assert f["watermark"] == 4 and f["first"] == 4 and f["last"] > 10 and f["consumers"] == 1 and f["first_time_micros"] < f["last_time_micros"]' || { fail "feed stats"; cat out; }
expect 0 consumer drop feed worker
expect 1 consumer drop feed worker
has err 'there is no consumer'
# What its reader has not taken out of the pipe is not acknowledged, and comes again.
"$tool" changes feed --from 4 --consumer piped 2>err | sleep 0.3
"$tool" changes feed --consumer piped >out 2>err || fail "a consumer whose reader has gone"
"$tool" changes feed --consumer piped --json | wc -l >twice
[ "$(wc -l <out)" -gt 2 ] && says twice 0 || { fail "a pipe that nobody reads"; cat out twice; }
expect 0 consumer drop feed piped
expect 0 feed trim feed --below 5
says out '0 entries let go; nothing is kept below 4'
expect 0 feed trim feed --below now --json
has out '"removed":'
expect 2 feed trim feed

# What follows sees what others have written and closed; one line is written out before the next pass.
"$tool" changes feed --follow --consumer tail --limit 3 --json >followed 2>err &
follower=$!
for _ in $(seq 600); do
    grep -q tail <("$tool" consumer list feed 2>&1) && break
    sleep 0.05
done
expect 0 compact db # of another one: time in which it begins to wait
for key in f g h; do
    for _ in $(seq 100); do
        "$tool" put feed $key followed 2>err && break
        sleep 0.05
    done
done
wait $follower || fail "following: exit code"
[ "$(sed 's/"key":"\(.\)".*/\1/' followed | tr -d '{\n')" = fgh ] || { fail "followed"; cat followed; }
"$tool" changes feed --follow >followed 2>err &
follower=$!
sleep 0.5
kill -INT $follower
wait $follower || fail "a follower that was interrupted: exit code"
printf 'put k 1\nchanges --limit 1 --from now\nfeed stats\nchanges --follow\nfeed stop --yes\n' >script
"$tool" shell feed <script >out 2>err
[ $? -eq 2 ] || fail "shell with a feed: exit code"
has out "the shell's: forever"
has err 'nobody else writes'

# No command lets the feed go or begins one, but those that say so.
expect 0 compact feed
expect 0 checkpoint feed feed-copy
expect 0 changes feed-copy
has out followed
expect 2 feed stop feed
expect 0 feed stop feed --yes
expect 1 changes feed
expect 0 feed start feed
expect 0 put feed after gap
expect 7 changes feed --consumer tail
lines out 0
expect 0 changes feed --consumer fresh
lines out 2
expect 0 create feed-first --feed
expect 0 put feed-first k v
expect 0 changes feed-first
lines out 2

# ---- two at once, damage ----
mkfifo pipe
"$tool" shell db <pipe >shell.out 2>&1 &
exec 3>pipe
echo 'get fruit' >&3
for _ in $(seq 600); do # asking the database itself could get in before the shell does
    [ -s shell.out ] && break
    sleep 0.05
done
says shell.out apple
expect 5 get db fruit
has err 'next:'
expect 5 put db fruit pear --json
python3 -c 'import json; e = json.load(open("err"))["error"]; assert e["exit_code"] == 5 and e["status"] == "HELIOS_BUSY" and e["advice"]' || fail "errors as JSON"
echo quit >&3
exec 3>&-
wait
expect 0 compact db
file=$(ls -S db/sst/*.sst | head -n 1)
printf '\xa5\x5a\xa5\x5a' | dd of="$file" bs=1 seek=5000 conv=notrunc 2>/dev/null
expect 4 verify db
has err "${file##*/}"
expect 0 salvage db salvaged
has out 'lost keys'
has out "sst/${file##*/}"
expect 0 verify salvaged
expect 0 salvage db salvaged-json --json
python3 -c 'import json; r = json.load(open("out")); assert r["manifest"] and r["losses"][0]["lost"] == "keys"' || fail "salvage as JSON"
expect 2 salvage db salvaged

# ---- a killed writer; a first flush, and a first large commit, after the numbers that the open skips ----
yes x | head -n 300000 | sed '1s/.*/n/' >many.csv
expect 0 create killed
for next in flush load; do
    rm -f acknowledged
    "$tool" load killed many.csv --row-number --prefix "killed-$next:" --batch 100 --keep-going --durability async \
        --acknowledge >acknowledged 2>err &
    for _ in $(seq 600); do
        [ -s acknowledged ] && break
        sleep 0.05
    done
    kill -9 $!
    wait $! 2>/dev/null
    granted=$(awk '/^committed [0-9]+$/ {last = $2} END {print last + 0}' acknowledged)
    if [ $next = flush ]; then
        expect 0 flush killed
    else
        expect 0 load killed "$data/birdstrikes.csv" --row-number --prefix killed-and: --replace
    fi
    expect 0 count killed --prefix "killed-$next:"
    found=$(cat out)
    [ "$granted" -gt 0 ] && [ "$found" -ge "$granted" ] && [ $((found % 100)) -eq 0 ] ||
        fail "granted $granted, found $found"
    expect 0 verify killed
done

# ---- keys ----
export HELIOS_TEST_KEY=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
printf 'correct horse\n' >password
if "$tool" create sealed --key-env HELIOS_TEST_KEY >/dev/null 2>err; then
    expect 0 put sealed PLAINKEY PLAINVALUE --key-env HELIOS_TEST_KEY
    expect 0 flush sealed --key-env HELIOS_TEST_KEY
    grep -rq 'PLAINKEY\|PLAINVALUE' sealed && fail "a file of an encrypted database shows a key or a value"
    expect 2 get sealed PLAINKEY
    has err 'is encrypted'
    HELIOS_TEST_KEY=ff expect 2 get sealed PLAINKEY --key-env HELIOS_TEST_KEY
    has err '64 hex digits'
    expect 2 get sealed PLAINKEY --key-env HELIOS_TEST_KEY --password-file password
    has err 'one place'
    expect 0 key info sealed --key-env HELIOS_TEST_KEY
    has out 'AES-256-GCM'
    expect 0 key rotate sealed --key-env HELIOS_TEST_KEY --new-password-file password
    expect 2 get sealed PLAINKEY --key-env HELIOS_TEST_KEY
    expect 0 get sealed PLAINKEY --password-file password
    has out PLAINVALUE
    expect 0 verify sealed --password-file password
    expect 0 key info sealed --password-file password --json
    has out '"source":"password"'
    expect 0 destroy sealed --yes
    [ ! -e sealed ] || fail "destroy left something of an encrypted database"
else
    has err 'libcrypto'
fi

# ---- bench ----
expect 0 bench scratch --count 2000
has out readrandom
has out 'Commits that wait for the disk:'
has out 'threads share the syncs:'
has out 'A get takes'
[ ! -e scratch ] || fail "bench left its database behind"
expect 0 bench --dir . --quick --workloads fillrandom,readrandom
[ -z "$(ls -d helios-bench-* 2>/dev/null)" ] || fail "bench left its database behind"
expect 0 bench scratch --count 2000 --threads 3 --json --workloads fillbatch,readseq,deleterandom
lines out 4
has out '"explanation":'
has out '"threads":3'
expect 2 bench db --quick
has err 'is a database'
expect 2 bench --workloads nonsense --quick
[ -z "$(ls -d helios-bench-* 2>/dev/null)" ] || fail "a failed bench left its directory behind"
expect 2 bench --threads 0
# A disk that takes less than the question how long its syncs take.
(trap '' XFSZ && ulimit -f 8 && "$tool" bench limited --quick >/dev/null 2>err)
[ $? -eq 3 ] || { fail "bench on a full disk"; cat err; }
[ ! -e limited ] || fail "bench on a full disk left its directory behind"
mkdir kept && echo mine >kept/file
expect 0 bench kept --count 1000 --workloads fillseq
[ "$(ls kept)" = file ] || fail "bench changed what was in the directory"

[ $bad -eq 0 ] && echo "all as expected"
exit $((bad != 0))
