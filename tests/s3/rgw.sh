# rgw.sh - a Ceph gateway for a test: one monitor, one OSD that keeps all in memory, radosgw,
# on ports of 127.0.0.1 that were free. Source it; needs $T. rgw_start sets RGW_URL, and
# RGW_TLS_URL with its certificate in RGW_CA; the AWS variables are set.
# shellcheck shell=bash

export AWS_ACCESS_KEY_ID=testaccess AWS_SECRET_ACCESS_KEY=testsecret1234567890
RGW=$T/rgw
declare -gA RGW_PIDS=() # by name; of those that run, as others get the numbers of those that don't

rgw_needs() {
	local program
	for program in ceph-mon ceph-osd radosgw radosgw-admin monmaptool ceph curl openssl; do
		type "$program" >/dev/null 2>&1 && continue
		echo "1..0 # SKIP needs $program: tools/deps --test installs it"
		exit 0
	done
}

rgw_free_ports() {	# as many as asked for
	python3 -c '
import socket, sys
s = [socket.socket() for _ in range(int(sys.argv[1]))]
for x in s:
    x.bind(("127.0.0.1", 0))
print(*[x.getsockname()[1] for x in s])' "$1"
}

rgw_config() {
	local tls="ssl_endpoint=127.0.0.1:$4 ssl_certificate=$RGW/cert.pem"
	tls+=" ssl_private_key=$RGW/key.pem"
	cat >"$RGW/ceph.conf" <<-END
	[global]
	fsid = $1
	mon host = [v2:127.0.0.1:$2]
	ms bind ipv6 = false
	ms bind msgr1 = false
	paxos propose interval = .02
	paxos min wait = .01
	mon osd min up ratio = 0
	public addr = 127.0.0.1
	cluster addr = 127.0.0.1
	auth cluster required = none
	auth service required = none
	auth client required = none
	ms mon client mode = crc
	run dir = $RGW/run
	admin socket = $RGW/run/\$name.\$pid.asok
	pid file = $RGW/run/\$name.pid
	log file = $RGW/log/\$name.log
	crash dir = $RGW/run
	keyring = $RGW/keyring
	osd pool default size = 1
	osd pool default min size = 1
	mon allow pool size one = true
	osd crush chooseleaf type = 0
	osd pool default pg num = 1
	osd pool default pg autoscale mode = off
	mon max pg per osd = 4000
	mon osd full ratio = .99
	mon osd backfillfull ratio = .98
	mon osd nearfull ratio = .97
	mon data avail crit = 0
	mon data avail warn = 0
	[mon]
	mon data = $RGW/mon
	mon initial members = a
	[osd]
	osd data = $RGW/osd
	osd objectstore = memstore
	memstore device bytes = ${RGW_STORE:-1G}
	osd memory target = 939524096
	osd op num shards = 2
	osd check max object name len on startup = false
	[client]
	rgw data = $RGW/rgw
	rgw frontends = beast endpoint=127.0.0.1:$3 $tls tcp_nodelay=1
	rgw rados pool pg num min = 1
	rgw dns name = s3.localhost
	rgw thread pool size = 32
	END
}

rgw_failed() {
	echo "# the Ceph gateway did not start: $1"
	tail -n 5 "$RGW"/log/*.out 2>/dev/null | sed 's/^/# /'
	exit 1
}

rgw_run() {	# NAME PROGRAM...: in the background, its pid noted
	local name=$1
	shift
	"$@" >"$RGW/log/$name.out" 2>&1 9>&- &
	RGW_PIDS[$name]=$!
}

rgw_again() {	# the gateway alone
	rgw_run gateway radosgw -c "$RGW/ceph.conf" -n client.admin -f
	until_true 180 curl -s -o /dev/null "$RGW_URL/" || rgw_failed gateway
}

rgw_kill() {	# [NAME]: the gateway, if no other is named
	local name=${1:-gateway}
	kill -KILL "${RGW_PIDS[$name]}"
	wait "${RGW_PIDS[$name]}" 2>/dev/null
	unset "RGW_PIDS[$name]"
}

rgw_start() {
	local conf=$RGW/ceph.conf fsid osd ports
	rgw_needs
	mkdir -p "$RGW"/{mon,osd,rgw,run,log}
	read -r -a ports <<<"$(rgw_free_ports 3)"
	RGW_URL=http://127.0.0.1:${ports[1]}
	RGW_TLS_URL=https://127.0.0.1:${ports[2]}
	RGW_CA=$RGW/cert.pem
	fsid=$(cat /proc/sys/kernel/random/uuid)
	osd=$(cat /proc/sys/kernel/random/uuid)
	touch "$RGW/keyring"
	rgw_config "$fsid" "${ports[@]}"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
		-subj /CN=localhost -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" \
		-keyout "$RGW/key.pem" -out "$RGW/cert.pem" 2>/dev/null
	monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:127.0.0.1:${ports[0]}]" \
		"$RGW/monmap" >/dev/null || rgw_failed monmap
	ceph-mon -c "$conf" -i a --mkfs --monmap "$RGW/monmap" >/dev/null || rgw_failed mon
	rgw_run mon ceph-mon -c "$conf" -i a -f
	timeout 200 ceph -c "$conf" --connect-timeout 190 osd new "$osd" >/dev/null ||
		rgw_failed ceph
	ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$osd" >"$RGW/log/mkfs.out" 2>&1 ||
		rgw_failed osd
	rgw_run osd ceph-osd -c "$conf" -i 0 -f
	timeout 200 radosgw-admin -c "$conf" user create --uid=test --display-name=test \
		--access-key="$AWS_ACCESS_KEY_ID" --secret-key="$AWS_SECRET_ACCESS_KEY" \
		>"$RGW/log/user.out" 2>&1 || rgw_failed user
	rgw_again
}

rgw_stop() {
	local name
	for name in "${!RGW_PIDS[@]}"; do
		rgw_kill "$name"
	done
}
