#!/bin/bash
# sqlite3 on a mount, with a rollback journal and with a write-ahead log: the same results as on
# a plain filesystem, and no committed transaction lost when sqlite3 or the daemon is killed.
. "$(dirname "$0")/../lib/mount.sh"
needs sqlite3
fs_start || exit 1
writer=''
stop_writer() {
	[[ -z $writer ]] || { signal_child KILL "$writer"; wait "$writer"; } 2>/dev/null
	writer=''
}
trap 'stop_writer; cleanup' EXIT

script() {	# MODE
	cat <<-END
		PRAGMA journal_mode=$1;
		PRAGMA synchronous=NORMAL;
		CREATE TABLE t(id INTEGER PRIMARY KEY, k INT, text TEXT);
		CREATE INDEX t_k ON t(k);
		BEGIN;
		INSERT INTO t SELECT value, value * 7919 % 10007, printf('row %d', value * value)
			FROM generate_series(1, 20000);
		COMMIT;
	END
	for i in {1..40}; do
		cat <<-END
			BEGIN;
			UPDATE t SET text = text || ' again $i' WHERE k % 40 = $i - 1;
			DELETE FROM t WHERE k % 400 = $i;
			INSERT INTO t(k, text) VALUES($i, 'new $i');
			COMMIT;
		END
	done
	echo "BEGIN; DELETE FROM t; ROLLBACK; VACUUM; PRAGMA integrity_check;"
	echo "SELECT count(*), sum(k), sum(length(text)) FROM t;"
}
works() {	# MODE
	script "$1" | sqlite3 -bail "$1.db" && sqlite3 "$1.db" .dump | sha256sum
}
# Four programs write one database; each waits for the others' locks.
shares() {	# MODE
	local i
	sqlite3 "$1s.db" "PRAGMA journal_mode=$1; CREATE TABLE s(who INT, n INT);"
	for i in 1 2 3 4; do
		for n in {1..25}; do echo "INSERT INTO s VALUES($i, $n);"; done |
			sqlite3 -bail -cmd ".timeout 200000" "$1s.db" &
	done
	wait
	sqlite3 "$1s.db" "SELECT who, count(*), sum(n) FROM s GROUP BY who;
		PRAGMA integrity_check;"
}

# Rows 1, 2, 3, ..., each a transaction, each told once it is committed. EXTRA: with a rollback
# journal the commit is the journal's removal, and only then is that synced.
write_rows() {	# DATABASE ACKS
	local n
	{
		echo "PRAGMA synchronous=EXTRA;"
		for ((n = 1; ; n++)); do
			echo "INSERT INTO r VALUES($n, hex(randomblob(400)));"
			echo "SELECT $n;"
		done
	} 2>/dev/null | stdbuf -oL sqlite3 -bail "$1" >"$2" 2>/dev/null
}
acked() { tail -n 1 "$1" 2>/dev/null | grep -x '[0-9]*' || echo 0; }
has_acked() { (($(acked "$1") >= $2)); }	# ACKS ROWS
start_rows() {	# MODE: in a process group of its own, which ends with it
	sqlite3 "$MNT/$1k.db" "PRAGMA journal_mode=$1;
		CREATE TABLE IF NOT EXISTS r(n INTEGER PRIMARY KEY, p); DELETE FROM r;" >/dev/null
	: >"$T/acks"
	write_rows "$MNT/$1k.db" "$T/acks" &
	writer=$!
	until_true 150 has_acked "$T/acks" 20	# each takes some syncs
}
rows_are_there() {	# MODE ROWS: so many at least
	local n=$2 got
	got=$(sqlite3 "$MNT/$1k.db" "PRAGMA integrity_check;
		SELECT count(*) = max(n) AND count(*) >= $n FROM r;")
	[[ $got == $'ok\n1' ]] || { echo "$n rows acknowledged; $got"; return 1; }
}
kill_sqlite() {		# and who feeds it
	local pid
	for pid in $(cat "/proc/$writer/task/$writer/children"); do kill -KILL "$pid"; done
	wait "$writer" 2>/dev/null
	writer=''
}

for mode in delete wal; do
	both_do "$mode: tables, indexes, transactions, vacuum" works $mode
	both_do "$mode: four programs write at once" shares $mode
	start_rows $mode
	result $? "$mode: rows are written"
	kill_sqlite
	ok "$mode: after kill -9 of sqlite3 the committed ones are there" \
		rows_are_there $mode "$(acked "$T/acks")"
	start_rows $mode
	result $? "$mode: rows are written again"
	# Not later: sqlite takes a folder that it can't open to be synced (unixDelete()), and
	# tells of a row whose journal it removed just before the daemon was killed.
	told=$(acked "$T/acks")
	ok "$mode: the daemon is killed" fs_kill
	wait "$writer"
	writer=''
	ok "$mode: and the store mounted again" fs_start
	ok "$mode: the committed rows are there" rows_are_there $mode "$told"
	is "$mode: the first database, too" \
		"$(sqlite3 "$MNT/$mode.db" 'PRAGMA integrity_check;')" ok
done
ok "the mount ends" fs_stop
ok "fsck finds the store whole" "$FSCK" --key-file "$KEY" "$STORE"
finish
