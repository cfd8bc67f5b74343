#!/usr/bin/env python3
"""Merges of Helios against git's: test_merge_oracle.py MAKER [MERGES [SEED]].

MAKER (merge_oracle_maker.c) makes a drawn history in Helios and tells it as a stream for `git fast-import`, merges
included, and for each merge which keys conflicted. Here git merges the same commits again, by `git merge-tree`, and
must come to the same: the same conflicting files, the same tree but for these, and in these what the strategy says.
As a value is a file of one line, a file conflicts exactly if both sides made different things of it; as no two files
are ever alike, git finds no renames (which merge-tree of 2.39 cannot be kept from looking for).

Where two commits have several best common ancestors (criss-cross) git makes a virtual base of them, which Helios does
not: there git is asked for the ancestors alone, and the conflicts follow from them by the rule that a side has
changed a key if it differs from any. These do not count as merges judged by git.
"""
import os
import subprocess
import sys
import tempfile

GIT = ["git", "-c", "core.autocrlf=false", "-c", "gc.auto=0"]


class Repository:
    """An empty one that knows nothing of its user's settings."""

    def __init__(self, path):
        self.path = path
        self.trees = {}  # as they were asked for
        self.environment = {"PATH": os.environ["PATH"], "HOME": path, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C",
                            "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_ATTR_NOSYSTEM": "1", "XDG_CONFIG_HOME": path}
        self.git("init", "-q", "--bare", "--template=", "--initial-branch=b0", ".")

    def git(self, *arguments, stdin=None, fine=(0,)):
        done = subprocess.run(GIT + list(arguments), cwd=self.path, env=self.environment, stdin=stdin,
                              capture_output=stdin is None, check=False)
        if done.returncode not in fine:
            sys.exit(f"git {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
        return done.returncode, (done.stdout or b"").decode()

    def take(self, stream):
        """Imports a stream; the names of its commits by their marks."""
        marks = os.path.join(self.path, "marks")
        with open(stream, "rb") as source:
            self.git("fast-import", "--quiet", "--done", f"--export-marks={marks}", stdin=source)
        return {line.split()[0][1:]: line.split()[1] for line in open(marks)}

    def files(self, commit):
        """The whole tree: name -> blob."""
        if commit not in self.trees:
            _, out = self.git("ls-tree", "-r", commit)
            self.trees[commit] = {line.split("\t")[1]: line.split()[2] for line in out.splitlines()}
        return self.trees[commit]

    def bases(self, ours, theirs):
        return self.git("merge-base", "--all", ours, theirs)[1].split()

    def merge(self, ours, theirs):
        """git's result: the tree, and the files in conflict."""
        status, out = self.git("merge-tree", "--write-tree", "--name-only", "--no-messages", ours, theirs,
                               fine=(0, 1))
        tree, *names = out.split()
        if (status == 1) != bool(names):
            sys.exit(f"git merge-tree {ours} {theirs}: exit {status} with conflicts in {names}")
        return self.files(tree), set(names)


def merged_by_rule(ours, theirs, bases):
    """Three-way, key by key: what both sides come to, and what conflicts."""
    result, conflicts = dict(ours), set()
    for key in ours.keys() | theirs.keys():
        mine, others = ours.get(key), theirs.get(key)
        if mine == others:
            continue
        mine_changed = any(base.get(key) != mine for base in bases)
        if mine_changed and any(base.get(key) != others for base in bases):
            conflicts.add(key)
        elif not mine_changed:
            result.pop(key, None)
            if others:
                result[key] = others
    return result, conflicts


def judge(repository, names, words):
    """One merge; true if git alone decided."""
    mark, ours, theirs, strategy, *conflicts = words
    merged, ours, theirs = names[mark], names[ours], names[theirs]
    where = f"merge :{mark} of {theirs} into {ours}"
    bases = repository.bases(ours, theirs)
    ours_files, theirs_files, helios = (repository.files(commit) for commit in (ours, theirs, merged))
    by_rule = merged_by_rule(ours_files, theirs_files, [repository.files(base) for base in bases])
    wanted, in_conflict = repository.merge(ours, theirs) if len(bases) == 1 else by_rule
    if in_conflict != set(conflicts):
        sys.exit(f"{where}: conflicts in Helios only {set(conflicts) - in_conflict}, "
                 f"here only {in_conflict - set(conflicts)}; bases {bases}")
    if len(bases) == 1 and in_conflict != by_rule[1]:
        sys.exit(f"{where}: git and the rule differ about {in_conflict ^ by_rule[1]}")
    side = theirs_files if strategy == "theirs" else ours_files
    for key in helios.keys() | wanted.keys() | in_conflict:
        should = side.get(key) if key in in_conflict else wanted.get(key)
        if helios.get(key) != should:
            sys.exit(f"{where}: {key} is {helios.get(key)} in Helios, {should} here")
    return len(bases) == 1


def main():
    maker = sys.argv[1]
    merges = int(sys.argv[2]) if len(sys.argv) > 2 else 320
    seed = sys.argv[3] if len(sys.argv) > 3 else "1"
    by_git = by_rule = nothing = 0
    conflicts = 0
    print(f"seed {seed}, {merges} merges")
    with tempfile.TemporaryDirectory() as directory:
        stream, judged = os.path.join(directory, "stream"), os.path.join(directory, "judged")
        subprocess.run([maker, seed, str(merges), stream, judged], check=True)
        os.mkdir(os.path.join(directory, "git"))
        repository = Repository(os.path.join(directory, "git"))
        names = repository.take(stream)
        for line in open(judged):
            kind, *words = line.split()
            if kind == "nothing":
                ours, theirs = (names[word] for word in words)
                if repository.git("merge-base", "--is-ancestor", theirs, ours, fine=(0, 1))[0] != 0:
                    sys.exit(f"nothing to merge of {theirs} into {ours}, says Helios")
                nothing += 1
                continue
            conflicts += len(words) > 4
            if judge(repository, names, words):
                by_git += 1
            else:
                by_rule += 1
    print(f"{by_git} merges as git makes them, {by_rule} with several bases by the rule, {nothing} with nothing new; "
          f"{conflicts} had conflicts")
    if by_git < merges * 5 // 8:
        sys.exit("too few for git to judge")


main()
