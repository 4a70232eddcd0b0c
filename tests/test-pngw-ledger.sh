#!/usr/bin/env bash
# pngw-ledger on sound and unsound files; a second verifier must find the same.
set -euo pipefail

build=${PNGW_BUILDDIR:?}
second=${PNGW_SRCDIR:?}/tests/vectors/ledger_verify.py
tool=$build/pngw-ledger
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

# expect CODE WORDS COMMAND...: the exit code, and words in its output.
expect() {
	local code=$1 words=$2 got=0 out
	shift 2
	out=$("$@" 2>&1) || got=$?
	[ "$got" = "$code" ] || fail "$* exits with $got, not $code: $out"
	case "$out" in
	*"$words"*) ;;
	*) fail "$* does not say \"$words\": $out" ;;
	esac
}

LEDGER_DIRECTORY=$work "$build/tests/test-ledger" >"$work/log" || fail "$(cat "$work/log")"

# The two verifiers, without and with a head: proven or the same place.
head=$("$tool" verify "$work/good-sample.ledger" | sed -n 's/^head //p')
[ -n "$head" ] || fail "no head"
place() {
	sed -n -e 's/^proven: .*/proven/p' -e 's/^not proven: header, byte 0.*/0 0/p' \
		-e 's/^not proven: entry \([0-9]*\), byte \([0-9]*\).*/\1 \2/p'
}
count=0
for with in "" "$head"; do
	"$second" ${with:+--head "$with"} "$work"/*.ledger >"$work/second" || true
	while IFS= read -r line; do
		file=${line%%: *}
		other=$(echo "${line#*: }" |
			sed -e 's/^proven .*/proven/' -e 's/^not proven: entry \([0-9]*\), byte /\1 /')
		ours=$("$tool" verify "$file" ${with:+--head "$with"} | place) || true
		[ -n "$ours" ] || fail "$file $with: says nothing"
		[ "$ours" = "$other" ] || fail "$file $with: '$ours', the second verifier '$other'"
		case "$with:$file" in
		:*/good-*) [ "$ours" = proven ] || fail "$file: $ours" ;;
		*/bad-* | ?*:*/cut-*) [ "$ours" != proven ] || fail "$file $with: proven" ;;
		esac
		count=$((count + 1))
	done <"$work/second"
done
[ "$count" -gt 200 ] || fail "only $count comparisons"

good=$work/good-sample.ledger
key=$("$tool" verify "$good" | sed -n 's/^key //p')
expect 0 "proven: 7 entries" "$tool" verify "$good" --head "$head" --key "$key"
expect 0 "gap: entries 6..9 are missing, entry 10 declares" "$tool" verify "$good"
expect 0 "without --head or --anchor" "$tool" verify "$good"
expect 0 "issued 2 = spent 1 + relayed 0 + erased unspent 1" "$tool" verify "$good"
expect 0 "issued 2 = spent 1" "$tool" verify --account "$good"
expect 1 "not proven: header, byte 0: it is signed with another key" \
	"$tool" verify "$good" --key "${key//[0-9]/1}"
expect 1 "another entry than the one that --head quotes" \
	"$tool" verify "$good" --head "11:${key}"
expect 1 "the file ends here, the one that --head quotes saw 12 entries" \
	"$tool" verify "$good" --head "12:${head#*:}"
# A tail that was cut off between two entries is seen with a head alone, and --complete insists on one.
head -c $((128 + 2 * 152)) "$good" >"$work/short"
expect 0 "nothing says that the newest are all here" "$tool" verify "$work/short"
expect 64 "--complete needs --head or --anchor" "$tool" verify --complete "$work/short"
expect 1 "the file ends here" "$tool" verify --complete "$work/short" --head "$head"
expect 0 "proven: 7 entries" "$tool" verify --complete "$good" --head "$head"
expect 64 "Usage:" "$tool" show "$good" --complete
expect 1 "No such file" "$tool" verify "$work/none"
expect 1 "Is a directory" "$tool" verify "$work"
head -c 700 "$good" >"$work/cut"
expect 1 "not proven: entry 4, byte 584: the file ends after 116 of the entry's 152 bytes" \
	"$tool" verify "$work/cut"
expect 1 "116 bytes of an entry" "$tool" show "$work/cut"
expect 0 "3 20" "$tool" show "$good"
expect 0 "issued key=2" "$tool" show "$good"
[ "$("$tool" show "$good" --from 10 | grep -c ' key=')" = 2 ] || fail "show --from"
expect 1 "the header is not a ledger's" "$tool" show "$tool"
expect 64 "a command is needed" "$tool"
expect 64 "no such command" "$tool" prove "$good"
expect 64 "one file is needed" "$tool" verify
expect 64 "one file is needed" "$tool" verify a b
for option in "--key xyz" "--head 5" "--head 0:$key" "--head 5:12" "--from 2" "--nonsense"; do
	# shellcheck disable=SC2086
	expect 64 "Usage:" "$tool" verify "$good" $option
done
expect 64 "Usage:" "$tool" show "$good" --key "$key"
expect 0 "Usage:" "$tool" --help

expect 1 "anchor $work/anchor: there is none" "$tool" verify "$good" --anchor "$work/anchor"
echo nonsense >"$work/anchor"
expect 1 "damaged, forged, or of another vault" "$tool" verify "$good" --anchor "$work/anchor"
echo "test-pngw-ledger: $count comparisons agree"
