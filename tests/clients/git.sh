#!/bin/bash
# git on a mount: clone, commit, merge, gc and fsck of this project's own repository (or of one
# made of its files, where they lie without one), with the same results as on a plain filesystem.
. "$(dirname "$0")/../lib/mount.sh"
needs git
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
fs_start || exit 1

# Commits are the same bytes wherever and whenever they are made.
export HOME=$T GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_DATE='2001-02-03T04:05:06Z' GIT_COMMITTER_DATE='2001-02-03T04:05:06Z'
git config --global user.name tester
git config --global user.email tester@example.org
git config --global init.defaultBranch main
git config --global advice.detachedHead false
git config --global gc.auto 0
git config --global safe.directory '*'

made_of_files() {
	git init -q "$T/origin" && cp -r "$source_dir"/{core,fs,docs,tests} "$T/origin" &&
		git -C "$T/origin" add . && git -C "$T/origin" commit -qm 'all files'
}
origin=$source_dir
git -C "$origin" rev-parse --verify -q HEAD >/dev/null || { made_of_files && origin=$T/origin; }

clones() {
	git clone -q --no-local --no-tags "file://$origin" work && cd work &&
		git checkout -q -B main && git status --porcelain && git fsck --strict &&
		git rev-parse HEAD && git ls-files -s | sha256sum && git ls-files | wc -l
}
commits() {
	cd work && git ls-files -z '*.c' | xargs -0 sed -i 's/return/RETURN/' &&
		git status --porcelain | wc -l && git commit -qam 'loud returns' &&
		git checkout -q -b side HEAD~1 && git mv core engine && mkdir new &&
		seq 5000 >new/numbers && git add -A && git commit -qm 'core moves' &&
		git checkout -q main && git merge -q -m merged side && git rev-parse HEAD &&
		git status --porcelain && git log --oneline -3 --format=%H
}
rewrites() {
	cd work && git checkout -q -b more side && echo 1 >one && git add one &&
		git commit -qm one && git rebase -q main && git checkout -q main &&
		git reset -q --hard HEAD~1 && git cherry-pick more >/dev/null &&
		git rev-parse HEAD more && git worktree add -q ../tree side &&
		git -C ../tree status --porcelain && git worktree remove ../tree &&
		git status --porcelain
}
collects() {
	cd work && git repack -q -a -d -f && git gc -q --prune=now &&
		git fsck --full --strict && git count-objects -v | grep -v size &&
		git archive HEAD | sha256sum
}
checks() {
	cd work && git status --porcelain && git fsck --full --strict && git rev-parse HEAD &&
		git diff --stat HEAD
}

both_do "clone, checkout and fsck" clones
both_do "edits, a commit, a branch that moves folders, a merge" commits
both_do "rebase, reset, cherry-pick, a second work tree" rewrites
both_do "repack, gc, fsck" collects
ok "the mount is renewed" fs_restart
both_do "and the repository is whole and clean" checks
ok "a clone from the mount" git clone -q --no-local "file://$MNT/work" "$PLAIN/back"
is "has the same head" "$(git -C "$PLAIN/back" rev-parse HEAD)" \
	"$(git -C "$MNT/work" rev-parse HEAD)"
killed() {
	git -C "$MNT/work" commit -q --allow-empty -m last && sync "$MNT/work" &&
		head=$(git -C "$MNT/work" rev-parse HEAD) && fs_kill && fs_start &&
		[[ $(git -C "$MNT/work" rev-parse HEAD) == "$head" ]] &&
		git -C "$MNT/work" fsck --full
}
ok "a synced commit is there after kill -9 of the daemon" killed
finish
