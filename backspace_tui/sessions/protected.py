"""Paths whose content runs on someone's machine as soon as it is checked out, or in CI."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

from backspace_tui.core.state import SessionState

_PROTECTED_NAMES: Final = frozenset(
    {
        ".gitattributes", ".gitmodules", ".gitconfig", ".envrc", ".pre-commit-config.yaml", ".gitlab-ci.yml",
        ".travis.yml", ".drone.yml", ".woodpecker.yml", "azure-pipelines.yml", "bitbucket-pipelines.yml",
        "jenkinsfile", "appveyor.yml", ".appveyor.yml", "lefthook.yml", ".lefthook.yml", ".mise.toml", "mise.toml",
        ".backspace.toml", ".npmrc", ".yarnrc.yml", ".pypirc", "sitecustomize.py", "usercustomize.py", "codeowners",
        ".mcp.json",
    }
)  # fmt: skip
_PROTECTED_PATHS: Final = (
    ".github/workflows/*", ".github/actions/*", ".github/dependabot.yml", ".gitlab/*", ".circleci/*", ".buildkite/*",
    ".woodpecker/*", ".ci/*", ".husky/*", ".githooks/*", "githooks/*", ".vscode/tasks.json", ".vscode/settings.json",
    ".vscode/launch.json", ".vscode/extensions.json", ".idea/runconfigurations/*", ".idea/workspace.xml", ".run/*",
    ".devcontainer/*", ".devcontainer.json", ".cargo/config", ".cargo/config.toml", ".claude/*", ".cursor/*",
)  # fmt: skip


def protected(path: str, allowed: tuple[str, ...] = (), denied: tuple[str, ...] = ()) -> bool:
    """Whether accepting ``path`` takes a second confirmation.

    So it does for what tools run on the machines of those who check it out, or their CI, for what a pattern of
    ``denied`` names, and for what none of ``allowed`` does, where there are any.
    """
    if _named(path, denied) or (allowed and not _named(path, allowed)):
        return True
    folded = path.casefold()
    name = folded.rpartition("/")[2]
    return name in _PROTECTED_NAMES or any(
        fnmatchcase(folded, pattern) or fnmatchcase(folded, "*/" + pattern) for pattern in _PROTECTED_PATHS
    )


def _named(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern names ``path``, or a folder that it is in."""
    return any(fnmatchcase(path, pattern) or path.startswith(pattern.rstrip("/") + "/") for pattern in patterns)


def patterns(state: SessionState, name: str) -> tuple[str, ...]:
    """The patterns of a setting of ``[project]`` that the session was started with."""
    project = state.started.settings.get("project", {}) if state.started is not None else {}
    return tuple(project.get(name, ()))
