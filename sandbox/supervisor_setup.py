"""Packs what a project's setup made: HOME, and what git ignores inside the workspace. Runs as the user, in the image.

Started with ``python3 -I -S supervisor_setup.py WORKSPACE HOME TARGET``; prints one JSON object. Standard library of
Python 3.9 and later.
"""

import json
import os
import subprocess
import sys
import tarfile

# Caches that nobody writes by hand; the same names are no work of the agent's (repository/ignored.py).
CACHES = [
    "__pycache__", "__pypackages__", ".cache", ".eggs", ".gradle", ".hypothesis", ".ipynb_checkpoints", ".mypy_cache",
    ".nox", ".npm", ".nyc_output", ".parcel-cache", ".pytest_cache", ".pytype", ".ruff_cache", ".tox", ".turbo",
    ".venv", "htmlcov", "node_modules", "*.egg-info", ".DS_Store", ".coverage", ".eslintcache", ".stylelintcache",
    ".tsbuildinfo", "*.pyc", "*.pyo", "*.tsbuildinfo", ".coverage.*",
]  # fmt: skip
IMAGE_VENV = "/opt/venv"
SHOWN = 5


def listed(workspace, *which):
    argv = ["git", "-C", workspace, "ls-files", "-z", "--others", "--exclude-standard", *which]
    for name in CACHES:
        argv += ["-x", name]
    found = subprocess.run(argv, capture_output=True)
    if found.returncode:
        raise OSError("git ls-files failed: " + found.stderr.decode(errors="replace").strip()[-200:])
    return [os.fsdecode(path) for path in found.stdout.split(b"\0") if path]


def without_git(entry):
    """What is kept of a repository inside another: all but its metadata; the user's own ids, whatever they were."""
    if any(part.lower() == ".git" for part in entry.name.split("/")):
        return None
    entry.uid = entry.gid = 1000
    entry.uname = entry.gname = ""
    return entry


def pack(target, folder, names):
    """A tar of ``names`` below ``folder``; returns its size, 0 (and no file) where there is nothing to pack."""
    if not names:
        return 0
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as archive:
        done = set()
        for name in names:
            above = name.rstrip("/")
            missing = []
            while "/" in above:
                above = above.rpartition("/")[0]
                if above in done:
                    break
                done.add(above)
                missing.append(above)
            # With an entry of their own folders keep their modes.
            for parent in reversed(missing):
                archive.add(os.path.join(folder, parent), parent, recursive=False, filter=without_git)
            if os.path.lexists(os.path.join(folder, name)):
                archive.add(os.path.join(folder, name), name, filter=without_git)
    return os.path.getsize(target)


def workspace_names(workspace):
    """(what git ignores or is a well-known cache, what neither git knows nor ignores)"""
    try:
        return listed(workspace, "--ignored"), listed(workspace)
    except FileNotFoundError:
        # No git in this image: what has a well-known name at the top.
        plain = {name for name in CACHES if "*" not in name}
        return sorted(plain & set(os.listdir(workspace))), []


def home_names(home):
    """What setup left in HOME; its venv only where the image has none to install into."""
    left_out = {"tmp", ".venv"} if os.path.isdir(IMAGE_VENV) else {"tmp"}
    return sorted(set(os.listdir(home)) - left_out)


def main():
    workspace, home, target = sys.argv[1:4]
    names, unknown = workspace_names(workspace)
    sizes = {
        "workspace": pack(target + "/workspace.tar", workspace, names),
        "home": pack(target + "/home.tar", home, home_names(home)),
    }
    shown = [name.encode("utf-8", "replace").decode() for name in unknown[:SHOWN]]
    print(json.dumps({**sizes, "left_out": shown, "left_out_count": len(unknown)}))


if __name__ == "__main__":
    main()
