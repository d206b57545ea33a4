"""Ways of planting git metadata, as data: shell lines that run in the workspace, with a command that must never run.

``$CANARY`` is a command line that leaves a file on the host; ``$HOST`` is a folder of the host's with a repository.
"""

# ruff: noqa: E501
from __future__ import annotations

from typing import Final

SETUP: Final = "set -e; cd /workspace; git config user.name x; git config user.email x@x; "
HOOKS: Final = (
    "applypatch-msg commit-msg fsmonitor-watchman post-applypatch post-checkout post-commit post-index-change post-merge "
    "post-receive post-rewrite post-update pre-applypatch pre-auto-gc pre-commit pre-merge-commit pre-push pre-rebase "
    "pre-receive prepare-commit-msg proc-receive push-to-checkout reference-transaction sendemail-validate update"
)
_PLANT_HOOKS: Final = (
    f"for hook in {HOOKS}; do printf '#!/bin/sh\\n%s\\n' \"$CANARY\" > $folder/$hook; chmod 755 $folder/$hook; done; "
)
_CONFIG: Final = 'git config {key} "$CANARY"; '


def _settings(*keys: str) -> str:
    return "".join(_CONFIG.format(key=key) for key in keys)


VECTORS: Final[dict[str, str]] = {
    "hooks": "folder=.git/hooks; mkdir -p $folder; " + _PLANT_HOOKS,
    "hooks in the tree": "folder=tools; mkdir -p $folder; git config core.hooksPath tools; " + _PLANT_HOOKS,
    "hooks of husky": "folder=.husky; mkdir -p $folder; " + _PLANT_HOOKS,
    "fsmonitor": _settings("core.fsmonitor"),
    "fsmonitor and untracked cache": _settings("core.fsmonitor")
    + "git config core.untrackedCache true; git status >&2 || :; ",
    "another work tree": "git config core.worktree /; ",
    "work tree of the host": 'git config core.worktree "$HOST"; ',
    "ssh command": _settings("core.sshCommand") + "git config remote.origin.url ssh://localhost/x; ",
    "pager": _settings("core.pager", "pager.diff", "pager.log", "pager.show", "interactive.diffFilter"),
    "editor": _settings("core.editor", "sequence.editor", "gpg.program", "gpg.ssh.program")
    + "git config commit.gpgSign true; ",
    "aliases": 'for a in diff log status show cat-file diff-tree fast-import; do git config alias.$a "!$CANARY"; done; ',
    "credential helper": _settings("core.askPass", "core.gitProxy") + 'git config credential.helper "!$CANARY"; ',
    "clean filter": _settings("filter.x.clean")
    + "echo '* filter=x' > .gitattributes; git config filter.x.required true; ",
    "smudge filter": _settings("filter.x.smudge") + "echo '* filter=x' > .gitattributes; ",
    "process filter": _settings("filter.x.process") + "echo '* filter=x' > .gitattributes; ",
    "filter of the user's": "echo '* filter=lfs diff=lfs merge=lfs -text' > .gitattributes; ",
    "text conversion": _settings("diff.x.textconv")
    + "echo '* diff=x' > .gitattributes; git config diff.x.cachetextconv true; ",
    "external diff": _settings("diff.external", "diff.x.command") + "echo '* diff=x' > .gitattributes; ",
    "merge driver": _settings("merge.x.driver", "merge.tool", "mergetool.x.cmd")
    + "echo '* merge=x' > .gitattributes; ",
    "include": "printf '[core]\\n\\tfsmonitor = %s\\n' \"$CANARY\" > shared.config; git config include.path ../shared.config; ",
    "conditional include": (
        'printf \'[core]\\n\\tfsmonitor = %s\\n\\tpager = %s\\n\' "$CANARY" "$CANARY" > shared.config; '
        "git config includeIf.gitdir:/.path /workspace/shared.config; "
        "git config includeIf.onbranch:**.path ../shared.config; "
    ),
    "submodule with a command": (
        'printf \'[submodule "x"]\\n\\tpath = x\\n\\turl = ext::sh -c %s\\n\\tupdate = !%s\\n\' "$CANARY" "$CANARY" > .gitmodules; '
    ),
    "submodule with a path": (
        'printf \'[submodule "../../hooks"]\\n\\tpath = ../../../x\\n\\turl = file:///etc\\n[submodule "y"]\\n\\tpath = -u./run\\n'
        "\\turl = -u./run\\n' > .gitmodules; "
    ),
    "submodule as a link": "ln -s /etc/passwd .gitmodules; ln -s .git/config .gitattributes; ln -sf /etc/passwd .gitignore; mkdir sub; ln -s x sub/.GITMODULES; ",
    "nested repository": (
        "git init -q vendor; cd vendor; "
        + _settings("core.fsmonitor", "core.pager", "filter.x.clean")
        + "echo '* filter=x' > .gitattributes; echo 1 > f; cd ..; "
    ),
    "nested repository's gitlink": (
        "git init -q vendor; cd vendor; git -c user.name=x -c user.email=x@x commit -q --allow-empty -m x; "
        + _settings("core.fsmonitor")
        + "cd ..; git add vendor 2>/dev/null; "
    ),
    "repository behind a .git file": (
        "git init -q --bare store; "
        + 'git -C store config core.fsmonitor "$CANARY"; git -C store config core.bare false; '
        "mkdir vendor; echo 'gitdir: ../store' > vendor/.git; echo 'gitdir: store' > store.git; "
    ),
    "bare repository as files": (
        "git init -q --bare fixture; "
        + 'git -C fixture config core.fsmonitor "$CANARY"; git -C fixture config core.worktree ..; '
        "folder=fixture/hooks; mkdir -p $folder; " + _PLANT_HOOKS
    ),
    "the workspace as a bare repository": (
        "cp -r .git/HEAD .git/objects .git/refs .; "
        "printf '[core]\\n\\trepositoryformatversion = 0\\n\\tbare = false\\n\\tfsmonitor = %s\\n' \"$CANARY\" > config; "
    ),
    "alternates": 'mkdir -p .git/objects/info; echo "$HOST/.git/objects" > .git/objects/info/alternates; ',
    "alternates by address": "mkdir -p .git/objects/info; echo http://127.0.0.1/ > .git/objects/info/http-alternates; ",
    "own attributes": _settings("filter.x.clean", "diff.x.textconv")
    + "mkdir -p .git/info; echo '* filter=x diff=x' > .git/info/attributes; ",
    "attributes of the configuration": (
        _settings("filter.x.clean") + "echo '* filter=x -diff' > hidden; git config core.attributesFile hidden; "
    ),
    "export attributes": "echo '* export-subst export-ignore' > .gitattributes; echo '$Format:%H$' > version; ",
    "encoding attributes": "printf '* working-tree-encoding=UTF-16 text eol=crlf ident\\n' > .gitattributes; printf '$Id$\\r\\n' > ident; ",
    "attributes that hide": "printf '* -diff -text binary linguist-generated\\n' > .gitattributes; ",
    "attributes in a folder": "mkdir -p src; printf '* -diff binary\\n' > src/.gitattributes; echo 'evil = 1' > src/hidden.py; ",
    "ignore file": "printf '*\\n' > .gitignore; mkdir -p .git/info; echo '*' > .git/info/exclude; echo 'evil = 1' > hidden.py; ",
    "ignore file of the configuration": "echo '*' > ignored; git config core.excludesFile ignored; echo 'evil = 1' > hidden.py; ",
    "replaced objects": (
        "old=$(git rev-parse HEAD:a.txt); new=$(echo replaced | git hash-object -w --stdin); git replace $old $new; "
    ),
    "grafts": "mkdir -p .git/info; git rev-parse HEAD > .git/info/grafts; git rev-parse HEAD > .git/shallow; ",
    "common folder": 'echo "$HOST/.git" > .git/commondir; ',
    "packed refs": 'echo "$(git rev-parse HEAD) refs/heads/main" > .git/packed-refs; rm .git/HEAD; ln -s /etc/passwd .git/HEAD; ',
    "configuration of a work tree": (
        "git config extensions.worktreeConfig true; printf '[core]\\n\\tfsmonitor = %s\\n' \"$CANARY\" > .git/config.worktree; "
    ),
    "lazy objects": (
        "git config core.repositoryFormatVersion 1; git config extensions.partialClone evil; "
        'git config remote.evil.url "ext::$CANARY"; git config remote.evil.promisor true; '
    ),
    "pack hook": _settings("uploadpack.packObjectsHook", "core.alternateRefsCommand", "trailer.x.command"),
    "short name": (
        "for name in 'git~1' .GIT '.git ' .git. '.git::$INDEX_ALLOCATION'; do "
        'mkdir -p "$name"; printf \'[core]\\n\\tfsmonitor = %s\\n\' "$CANARY" > "$name/config"; done; '
    ),
    "invisible name": (
        "for name in \"$(printf '.g\\342\\200\\214it')\" \"$(printf '\\357\\273\\277.git')\"; do "
        'mkdir -p "$name/hooks"; printf \'#!/bin/sh\\n%s\\n\' "$CANARY" > "$name/hooks/post-checkout"; done; '
    ),
    "a link to metadata": "mv .git elsewhere; ln -s elsewhere .git; "
    + 'git --git-dir=elsewhere config core.fsmonitor "$CANARY"; ',
    "settings of the user": "printf '[core]\\n\\tfsmonitor = %s\\n\\thooksPath = /workspace\\n' \"$CANARY\" > ~/.gitconfig; ",
    "notes and mailmap": "git notes add -m x; git config notes.displayRef '*'; echo '<evil@x> <x@x>' > .mailmap; ",
    "bundles and imports": 'printf "feature import-marks=/etc/passwd\\nfeature cat-blob\\n" > import; mkdir -p lfs; echo "x" > .lfsconfig; ',
}
