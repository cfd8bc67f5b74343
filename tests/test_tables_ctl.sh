#!/bin/bash
# test_tables_ctl.sh HELIOSCTL DATA - the commands on tables from outside: their output, their exit codes.
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
# prints TEXT: the last output is exactly TEXT. has FILE TEXT: a line contains it.
prints() { [ "$(cat out)" = "$1" ] || { fail "wanted"; echo "$1"; echo "and got"; cat out; }; }
has() { grep -qF -- "$2" "$1" || { fail "$1 lacks: $2"; cat "$1"; }; }

for command in 'table list' 'table describe' 'table create' 'table rename' 'table drop' 'index list' 'index create' \
    'index drop' rows 'row insert' 'row update' 'row delete'; do
    # shellcheck disable=SC2086
    expect 0 $command --help
    has out "heliosctl $command"
done

# ---- tables ----
expect 0 table create db items id:int64:primary name:text:not-null 'price:decimal(2)' made:date note:json \
    'at:timestamp' ok:bool:default=true --create
expect 2 table create db items a:text
has err 'items'
for column in a a:texts a:decimal a:text:odd 'a:int64(2)' 'a:decimal(x)' a:int64:default=x; do
    expect $([ "$column" = a:decimal ] && echo 0 || echo 2) table create db wrong "$column"
done
expect 0 table drop db wrong
expect 0 table describe db items
prints 'id     int64
name   text        not null
price  decimal(2)
made   date
note   json
at     timestamp
ok     bool        default true

index  primary  on id  unique'
expect 0 table list db
prints 'items  7 columns  1 index'
expect 0 table list db --json
has out '{"name":"price","type":"decimal(2)","not_null":false}'
expect 1 table describe db nothing

# ---- rows ----
expect 0 row insert db items name=Ann price=1.5 made=2026-01-02
prints 'row 1'
expect 0 row insert db items '{"id":7,"name":"B, \"q\"","note":{"a":[1,"x"]},"price":3}' \
    '{"name":"Cy","note":"text","at":"2026-01-01 10:00:00","ok":false}'
prints 'row 7
row 8'
expect 0 rows db items --ids
prints '#  id  name    price  made        note           at                    ok
1   1  Ann      1.50  2026-01-02  NULL           NULL                  true
7   7  B, "q"   3.00  NULL        {"a":[1,"x"]}  NULL                  true
8   8  Cy      NULL   NULL        "text"         2026-01-01T10:00:00Z  false'
expect 0 rows db items --json --from 8
prints '{"id":8,"name":"Cy","price":null,"made":null,"note":"text","at":"2026-01-01T10:00:00Z","ok":false}'
expect 0 rows db items --format csv --columns name,id --to 7
prints 'name,id
Ann,1
"B, ""q""",7'
expect 0 rows db items --columns id --reverse --limit 1 --offset 1
prints 'id
 7'
expect 2 rows db items --columns nothing
has err 'it has: id, name'
expect 2 rows db items --from x
expect 2 rows db items --index nothing
expect 1 rows db nothing
expect 2 row insert db items name=
has err 'may not be NULL'
expect 2 row insert db items id=9 nam=x
has err 'no column "nam"'
expect 2 row insert db items id=7 name=x
has err 'row 7 has (7)'
expect 2 row insert db items name=x note='{'
has err 'is not JSON'
expect 2 row insert db items '{"name":"x"}' '{"name":null}'
expect 2 row insert db items '[1]'
expect 0 rows db items --format csv --columns id
prints 'id
1
7
8'
expect 0 row insert db items id=8 name=Cyd --replace
expect 0 row update db items 7 name=Bob price=4.25
expect 0 row update db items '#1' '{"price":null}'
expect 1 row update db items 99 name=x
expect 2 row update db items 7 price=1.234
expect 0 row delete db items 1
expect 1 row delete db items 7 1
expect 0 rows db items --columns id,name,price,ok --format tsv
prints 'id	name	price	ok
7	Bob	4.25	true
8	Cyd		true'

# ---- indexes ----
expect 0 index create db items name --unique
expect 0 index create db items price name
expect 0 index list db items
prints 'index  primary     on id           unique
index  name        on name         unique
index  price_name  on price, name'
expect 2 row insert db items name=Bob
has err 'unique index "name"'
expect 0 row update db items Bob --index name price=9
expect 0 rows db items --index price_name --from 9,B --to 9 --columns name,price
prints 'name  price
Bob    9.00'
expect 2 rows db items --index price_name --from 9,B,C
expect 0 index drop db items price_name
expect 1 index drop db items price_name
expect 2 index drop db items primary

# ---- branches, points, names ----
expect 0 tag create db here
expect 0 branch create db side
expect 0 row delete db items 7 --branch side
expect 0 rows db items --columns id --branch side
prints 'id
 8'
expect 0 table rename db items things
expect 1 rows db items
expect 0 rows db items --columns id --at tag:here
prints 'id
 7
 8'
expect 0 table drop db things
expect 0 table list db
prints ''

# ---- load ----
expect 0 load db "$data/airports.csv" --table airports --primary-key iata
has out 'made table airports: iata text, name text, city text, state text, country text, latitude float64, longitude'
has out '3,376 rows in 1 commit'
expect 0 rows db airports --from SE --to SEB --columns iata,name,latitude
prints 'iata  name                 latitude
SEA   Seattle-Tacoma Intl  47.44898194'
expect 6 load db "$data/airports.csv" --table airports
has err 'airports.csv:2: table "airports": row 1 has (00M) in its unique index'
has err '... and 3356 more bad lines'
expect 2 load db "$data/airports.csv" --table airports --unique iata
expect 0 load db "$data/airports.csv" --table airports --replace --batch 1000 --acknowledge
has out 'committed 3376'
expect 0 rows db airports --json
mv out airports.ndjson
expect 0 load db airports.ndjson --table again --json --unique iata
has out '"table":"again","made":true,"loaded":3376,"bad_lines":0,"commits":1'
expect 0 rows db again --json
cmp -s out airports.ndjson || fail "a table printed as JSON and loaded is another"
expect 0 load db "$data/birdstrikes.csv" --table strikes
has out 'Flight Date date'
has out 'Speed IAS in knots int64'

printf 'zip,n,d,t,b,x,e,large\n00123,1,2026-01-02,2026-01-02 10:00:00,true,1.5,,12345678901234567890\n' >types.csv
printf '99,2,,2026-01-03,false,2,,1\n' >>types.csv
expect 0 load db types.csv --table types
has out 'zip text, n int64, d date, t timestamp, b bool, x float64, e text, large text'
expect 0 rows db types
prints 'zip    n  d           t                     b      x    e     large
00123  1  2026-01-02  2026-01-02T10:00:00Z  true   1.5  NULL  12345678901234567890
99     2  NULL        2026-01-03T00:00:00Z  false    2  NULL  1'
printf '{"a":1,"b":[1]}\n{"a":2.5,"b":"x","c":"2026-01-01"}\n{"a":18446744073709551616}\n' >some.ndjson
expect 6 load db some.ndjson --table some
has err 'some.ndjson:3: a number is too large'
expect 1 table describe db some
expect 6 load db some.ndjson --table some --keep-going
has out 'a float64, b json, c date'
expect 0 rows db some --json
prints '{"a":1,"b":[1],"c":null}
{"a":2.5,"b":"x","c":"2026-01-01"}'

printf 'a\n1\n2\nx\n' >late.csv
expect 6 load db late.csv --table late --sample 2
has err 'late.csv:4: column "a": "x" is no int64'
has err '0 rows were loaded'
expect 1 table describe db late
expect 6 load db late.csv --table late --sample 2 --batch 1
has err '2 rows were loaded'
expect 0 load db late.csv --table text
has out 'a text'
expect 2 load db late.csv --table key --primary-key b
expect 2 load db late.csv --table key --key a
expect 2 load db late.csv --key a --unique a
printf 'a,b\n1,x\n' >more.csv
expect 6 load db more.csv --table late
has err 'no column "b"'
"$tool" load db - --format csv --table piped < <(cat late.csv) >out 2>err
[ $? -eq 2 ] || fail "a pipe into no table"
expect 0 verify db

exit $((bad > 0))
