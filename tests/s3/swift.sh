# swift.sh - OpenStack Swift's s3api for a test: proxy, account, container and object server, one
# of each, and memcached, on ports of 127.0.0.1 that were free. Source it after rgw.sh; needs $T. swift_start sets
# SWIFT_URL; the AWS variables are set.
# shellcheck shell=bash

SWIFT=$T/swift SWIFT_PIDS=()

swift_needs() {
	local program
	for program in swift-proxy-server swift-account-server swift-container-server \
		swift-object-server memcached curl; do
		type "$program" >/dev/null 2>&1 && continue
		echo "1..0 # SKIP needs $program: tools/deps --long installs it"
		exit 0
	done
}

swift_failed() {
	echo "# Swift did not start: $1"
	tail -n 5 "$SWIFT"/log/* 2>/dev/null | sed 's/^/# /'
	exit 1
}

swift_rings() {	# ACCOUNT_PORT CONTAINER_PORT OBJECT_PORT: where each kind of thing is
	/usr/bin/python3 - "$SWIFT" "$@" <<-'END'
	import sys
	from swift.common.ring import RingBuilder
	folder, *ports = sys.argv[1:]
	for name, port in zip(('account', 'container', 'object'), ports):
	    ring = RingBuilder(2, 1, 0)
	    ring.add_dev({'id': 0, 'region': 1, 'zone': 1, 'ip': '127.0.0.1', 'port': int(port),
	                  'device': 'd1', 'weight': 1})
	    ring.rebalance()
	    ring.get_ring().save(f'{folder}/etc/{name}.ring.gz')
	END
}

swift_config() {	# PROXY_PORT ACCOUNT_PORT CONTAINER_PORT OBJECT_PORT CACHE_PORT
	local name common="bind_ip = 127.0.0.1
workers = 0
user = $(id -un)
swift_dir = $SWIFT/etc
log_level = WARNING"
	cat >"$SWIFT/etc/swift.conf" <<-END
	[swift-hash]
	swift_hash_path_prefix = p
	swift_hash_path_suffix = s
	[storage-policy:0]
	name = one
	default = yes
	END
	cat >"$SWIFT/etc/proxy.conf" <<-END
	[DEFAULT]
	$common
	bind_port = $1
	[pipeline:main]
	pipeline = catch_errors gatekeeper cache listing_formats bulk s3api tempauth slo proxy-server
	[app:proxy-server]
	use = egg:swift#proxy
	account_autocreate = true
	[filter:catch_errors]
	use = egg:swift#catch_errors
	[filter:cache]
	use = egg:swift#memcache
	memcache_servers = 127.0.0.1:$5
	[filter:gatekeeper]
	use = egg:swift#gatekeeper
	[filter:listing_formats]
	use = egg:swift#listing_formats
	[filter:bulk]
	use = egg:swift#bulk
	[filter:s3api]
	use = egg:swift#s3api
	location = us-east-1
	s3_acl = false
	[filter:tempauth]
	use = egg:swift#tempauth
	user_test_tester = $AWS_SECRET_ACCESS_KEY .admin
	[filter:slo]
	use = egg:swift#slo
	END
	for name in account container object; do
		shift
		cat >"$SWIFT/etc/$name.conf" <<-END
		[DEFAULT]
		$common
		bind_port = $1
		devices = $SWIFT/node
		mount_check = false
		fallocate_reserve = 0
		[pipeline:main]
		pipeline = $name-server
		[app:$name-server]
		use = egg:swift#$name
		END
	done
}

swift_start() {
	local name port ports
	swift_needs
	export AWS_ACCESS_KEY_ID=test:tester AWS_SECRET_ACCESS_KEY=testsecret1234567890
	mkdir -p "$SWIFT"/{etc,log,node/d1}
	read -r -a ports <<<"$(rgw_free_ports 5)"
	SWIFT_URL=http://127.0.0.1:${ports[0]}
	swift_config "${ports[@]}"
	swift_rings "${ports[@]:1:3}" >"$SWIFT/log/rings" 2>&1 || swift_failed rings
	memcached -u "$(id -un)" -l 127.0.0.1 -p "${ports[4]}" -U 0 -m 16 \
		>"$SWIFT/log/memcached" 2>&1 9>&- &
	SWIFT_PIDS+=($!)
	for name in account container object proxy; do
		SWIFT_DIR=$SWIFT/etc "swift-$name-server" "$SWIFT/etc/$name.conf" --verbose \
			>"$SWIFT/log/$name" 2>&1 9>&- &
		SWIFT_PIDS+=($!)
	done
	for port in "${ports[@]:0:4}"; do
		until_true 180 curl -s -o /dev/null --max-time 10 "http://127.0.0.1:$port/" ||
			swift_failed "port $port"
	done
}

swift_stop() {
	local pid
	for pid in "${SWIFT_PIDS[@]}"; do
		signal_child KILL "$pid"
		wait "$pid" 2>/dev/null
	done
	SWIFT_PIDS=()
}
