# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by run: cram-generator over unit files of all kinds.
# shellcheck shell=bash disable=SC1003,SC2154

units=$tmp/units out=$tmp/generated
lib=$units/lib etc=$units/etc c=$units/containers
fresh_units() {
	rm -rf "$units" "$out"
	mkdir -p "$lib" "$etc" "$out"
}
put() { # FILE LINE...
	mkdir -p "$(dirname "$1")"
	printf '%b\n' "${@:2}" > "$1"
}
generate() {
	(unset SYSTEMD_SCOPE
	export SYSTEMD_UNIT_PATH=$etc:$lib:$units/none QUADLET_UNIT_DIRS=$units/containers:$units/none
	"$build/asan/cram-generator" "$out")
}
generated() { (cd "$out" && find . -type f | sed 's|^\./||' | LC_ALL=C sort | tr '\n' ' '); }

fresh_units
put "$lib/a.service" "[Service]" "X-CRAMMax=64M"
put "$lib/plain.service" "[Service]" "ExecStart=/bin/true"
put "$lib/tmpl@.service" "[Service]" "X-CRAMMax=64M"
ln -s a.service "$lib/alias.service"
ln -s /dev/null "$etc/masked.service"
ln -s nothing "$etc/dangling.service"
ln -s loop.service "$etc/loop.service"
mkfifo "$etc/fifo.service"
mkdir "$etc/dir.service"
: > "$etc/empty.service"
put "$etc/service.d/x.conf" "[Service]" "X-CRAMLow=1M"
put "$etc/pre-.service.d/x.conf" "[Service]" "X-CRAMLow=1M"
put "$etc/inst@one.service.d/x.conf" "[Service]" "X-CRAMLow=1M"
put "$etc/other.service.d/x.conf" "[Service]" "CPUWeight=1"
put "$etc/other.service.d/x.conf~" "[Service]" "X-CRAMLow=1M"
put "$etc/s.slice" "[Slice]" "X-CRAMMax=64M"
put "$etc/run-.scope.d/x.conf" "[Scope]" "X-CRAMMax=64M"
put "$etc/a.socket" "[Socket]" "X-CRAMMax=64M"
put "$etc/comment.service" "[Service]" "# X-CRAMMax=64M"
gives 0 '' "cram-generator: nothing to say" generate
holds "  a drop-in where a property is, and nowhere else" is "$(generated)" \
	"a.service.d/zzz-cram.conf alias.service.d/zzz-cram.conf inst@one.service.d/zzz-cram.conf pre-.service.d/zzz-cram.conf run-.scope.d/zzz-cram.conf s.slice.d/zzz-cram.conf service.d/zzz-cram.conf tmpl@.service.d/zzz-cram.conf "
holds "  of a service" grep -qx 'ExecCondition=+/usr/local/bin/cramcg apply-unit %n' "$out/a.service.d/zzz-cram.conf"
holds "  of a slice" grep -qx 'Requires=cramcg-slice@%p.service' "$out/s.slice.d/zzz-cram.conf"

fresh_units
put "$lib/bad.service" "[Service]" "" "X-CRAMMax=-1"
gives 0 "$lib/bad.service:3: X-CRAMMax=-1: " "cram-generator: a bad value, with file and line" generate
holds "  and the drop-in is there, because the unit may require it" is "$(generated)" "bad.service.d/zzz-cram.conf "

# What Podman makes services of
fresh_units
put "$c/a.container" "[Container]" "Image=localhost/demo" "[Service]" "X-CRAMMax=64M"
put "$c/plain.container" "[Container]" "Image=localhost/demo"
put "$c/deep/er/b.container" "[Service]" "X-CRAMMax=64M"
put "$c/t@.container" "[Service]" "X-CRAMMax=64M"
put "$c/named.container" "[Container]" "ServiceName= other" "[Service]" "X-CRAMMax=64M"
put "$c/d.container" "[Container]" "ServiceName=elsewhere"
put "$c/d.container.d/x.conf" "[Service]" "X-CRAMLow=1M"
put "$c/pre-.container.d/x.conf" "[Service]" "X-CRAMLow=1M"
put "$c/users/u.container" "[Service]" "X-CRAMMax=64M"
put "$c/a.pod" "[Service]" "X-CRAMMax=64M"
put "$c/none.container.d/x.conf~" "[Service]" "X-CRAMMax=64M"
ln -s . "$c/loop"
gives 0 '' "cram-generator: containers of Podman" generate
holds "  a drop-in of each service that Podman makes of one with a property" is "$(generated)" \
	"a.service.d/zzz-cram.conf b.service.d/zzz-cram.conf elsewhere.service.d/zzz-cram.conf other.service.d/zzz-cram.conf pre-.service.d/zzz-cram.conf t@.service.d/zzz-cram.conf "
put "$c/container.d/x.conf" "[Service]" "X-CRAMLow=1M"
rm -r "${out:?}"/*
gives 0 '' "  and what is said for all" generate
holds "  counts for each" test -e "$out/plain.service.d/zzz-cram.conf"
put "$c/wrong.container" "[Container]" "X-CRAMMax=64M"
gives 0 "$c/wrong.container:2: X-CRAMMax= belongs to the section \[Service\]" "  and where it belongs is told" generate

# Whatever is in a file, it ends well: no sanitizer speaks
fresh_units
head -c 100000 /dev/urandom > "$lib/random.service"
printf '[Service]\nX-CRAM' > "$lib/short.service"
printf '[Service]\nX-CRAMMax=\\' > "$lib/backslash.service"
printf '[\nX-CRAMMax=1M' > "$lib/bracket.service"
printf '[Service]\nX-CRAMMax=1M\0\nX-CRAMLow=\0' > "$lib/null.service"
printf '[Service]\nX-CRAMMax=%0100000d\n' 0 > "$lib/long.service"
yes 'X-CRAMMax=1M \' | head -n 20000 > "$lib/on.service"
truncate -s 1G "$lib/large.service"
chmod 0 "$lib/bracket.service"
gives 0 'short.service:2: X-CRAM: a = is missing' "cram-generator: files that are none" generate
gives 2 'one or three directories' "cram-generator: without a directory" "$build/asan/cram-generator"
gives 0 '' "cram-generator: of a user's manager" env SYSTEMD_SCOPE=user "$build/asan/cram-generator" "$out" "$out" "$out"

fresh_units
for i in {1..2000}; do
	put "$lib/u$i.service" "[Unit]" "Description=$i" "[Service]" "ExecStart=/bin/true" "[Install]" "WantedBy=multi-user.target"
done
put "$lib/u7.service" "[Service]" "X-CRAMMax=1M"
many() {
	local TIMEFORMAT='%U %S' took
	took=$( { time SYSTEMD_UNIT_PATH=$lib QUADLET_UNIT_DIRS=$units/none "$build/cram-generator" "$out"; } 2>&1)
	awk '{ s = $1 + $2; print s " s"; exit s > 0.5 }' <<< "$took"
}
holds "cram-generator: 2000 unit files take less than half a second of a processor" many
