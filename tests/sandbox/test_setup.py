"""A project's setup on a real engine: run once, kept, and there in every sandbox."""

from __future__ import annotations

import io
import tarfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from backspace_tui.core.protocols import SandboxError, SandboxSpec
from backspace_tui.core.trees import EXECUTABLE, REGULAR, File
from backspace_tui.sandbox.client import SupervisedSandbox
from backspace_tui.sandbox.factory import Factory
from backspace_tui.sandbox.setup import prune_images
from tests.sandbox.support import Token, remove_setup_images, setup_images

pytestmark = pytest.mark.docker


def files(texts: Mapping[str, str | bytes]) -> dict[str, File]:
    return {name: File(REGULAR, text.encode() if isinstance(text, str) else text) for name, text in texts.items()}


class Project:
    """A spec with a name of its own, so that its images can be found and removed."""

    def __init__(self) -> None:
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self.said: list[str] = []
        self.opened: list[SupervisedSandbox] = []

    def factory(self, **fields: Any) -> Factory:
        for kind in {"setup", "setup_root"} & set(fields):
            # Nothing that a test left when it was killed is found again.
            fields[kind] = (*fields[kind], f": {self.name}")
        return Factory(SandboxSpec(name=self.name, **fields), self.said.append)

    def open(self, held: Mapping[str, File], **fields: Any) -> SupervisedSandbox:
        box = self.factory(**fields).open(held, session="test", purpose="agent")
        self.opened.append(box)
        return box

    def end(self) -> None:
        for box in self.opened:
            box.close()
        remove_setup_images(self.name)


@pytest.fixture
def project(default_image: str) -> Iterator[Project]:
    """A project, whose images and sandboxes are gone after the test."""
    made = Project()
    yield made
    made.end()


def output(box: SupervisedSandbox, command: str) -> str:
    result = box.run(command)
    assert result.exit_code == 0, (result.stdout + result.stderr).decode(errors="replace")
    return result.stdout.decode()


# What projects do

FAST = files({
    "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    '[project]\nname = "fast"\nversion = "1.0"\n[project.scripts]\nfast = "fast:main"\n',
    "setup.py": "from setuptools import Extension, setup\n"
    "setup(packages=['fast'], ext_modules=[Extension('fast._fast', ['fast/_fast.c'])])\n",
    "fast/__init__.py": "from fast._fast import twice\n\n\ndef main():\n    print(twice(21))\n",
    "fast/_fast.c": """#include <Python.h>
static PyObject *twice(PyObject *self, PyObject *n) { return PyLong_FromLong(2 * PyLong_AsLong(n)); }
static PyMethodDef methods[] = {{"twice", twice, METH_O, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_fast", 0, -1, methods};
PyMODINIT_FUNC PyInit__fast(void) { return PyModule_Create(&module); }
""",
    "tests/test_fast.py": "from fast import twice\n\n\ndef test_twice():\n    assert twice(4) == 8\n",
    ".gitignore": "*.so\nbuild/\n",
})  # fmt: skip


def test_an_editable_python_package_with_a_compiled_part(project: Project) -> None:
    spec: dict[str, Any] = {"setup": ("pip install --no-index --no-build-isolation -e .",)}
    first = project.open(FAST, **spec)
    assert "$ pip install --no-index --no-build-isolation -e ." in project.said
    assert any(line.startswith("Successfully installed fast") for line in project.said)
    told = len(project.said)
    second = project.open(FAST | files({"fast/__init__.py": "from fast._fast import twice\n\nadded = 1\n"}), **spec)
    assert len(project.said) == told  # found again: nothing was run
    for box in (first, second):
        assert "1 passed" in output(box, "pytest -q")
        assert output(box, "cd / && python -c 'import fast; print(fast.__file__)'") == "/workspace/fast/__init__.py\n"
    assert output(first, "fast") == "42\n"
    assert output(second, "cd / && python -c 'import fast; print(fast.added)'") == "1\n"
    # Only what git ignores came along, so that none of it is the agent's work.
    assert output(first, "git status --short").strip() == ""
    assert output(first, "git status --short --ignored | grep so$").startswith("!! fast/_fast.")
    first.rebuild()
    assert output(first, "fast") == "42\n"


def npm_package(name: str, version: str, script: str) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        for path, text in (("package.json", f'{{"name": "{name}", "version": "{version}"}}'), ("index.js", script)):
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return sink.getvalue()


def test_a_node_project_with_vendored_packages(project: Project) -> None:
    held = files({
        "package.json": '{"name": "app", "version": "1.0.0", "scripts": {"test": "node test.js"}, '
        '"dependencies": {"left": "file:vendor/left.tgz"}}',
        "vendor/left.tgz": npm_package("left", "1.0.0", "module.exports = (n) => '.'.repeat(n)"),
        "test.js": "if (require('left')(3) !== '...') process.exit(1)\nconsole.log('ok')\n",
    })  # fmt: skip
    for _ in range(2):
        box = project.open(held, setup=("npm install --offline --no-save",))
        assert output(box, "npm test --silent") == "ok\n"
    assert "node_modules/left/index.js" in box.export()


# What is kept

LINES = (
    "mkdir -p ~/.config/tool ~/tmp/scratch made/deep && echo kept >~/.config/tool/settings",
    "umask 0; echo run >made/run.sh; chmod 700 made/run.sh; ln -s run.sh made/link; echo x >stray; echo new >a.txt",
    "mkdir -p locked && echo in >locked/in && chmod 500 locked; echo >node_modules; echo $HOME $PWD $(id -u)",
)


def test_what_setup_leaves_and_what_it_does_not(project: Project) -> None:
    held = files({"a.txt": "old\n", ".gitignore": "/made/\n/locked/\n"})
    box = project.open(held, setup=LINES)
    assert output(box, "cat ~/.config/tool/settings a.txt locked/in made/link") == "kept\nold\nin\nrun\n"
    assert output(box, "stat -c %a:%u made/run.sh locked; ls ~/tmp") == "700:1000\n500:1000\n"
    assert "/home/agent /workspace 1000" in project.said
    assert "not kept, since .gitignore does not name it: stray" in project.said
    assert set(box.export()) == {"a.txt", ".gitignore", "made/run.sh", "made/link", "locked/in", "node_modules"}
    assert box.run("touch /usr/x /opt/backspace/x").exit_code != 0
    # What stands in the way of what was kept is the agent's, and stays.
    box.load(held | {"made": File(REGULAR, b"a file now\n")})
    assert output(box, "cat made locked/in") == "a file now\nin\n"


def test_root_lines_install_outside_and_user_lines_use_it(project: Project) -> None:
    package = (
        "mkdir -p /var/tmp/p/DEBIAN /var/tmp/p/usr/bin && printf '#!/bin/sh\\necho tool\\n' >/var/tmp/p/usr/bin/tool "
        "&& chmod 755 /var/tmp/p/usr/bin/tool && printf 'Package: tool\\nVersion: 1\\nArchitecture: all\\n"
        "Maintainer: A <a@example.org>\\nDescription: a tool\\n' >/var/tmp/p/DEBIAN/control "
        "&& dpkg-deb --root-owner-group --build /var/tmp/p /var/tmp/tool.deb"
    )
    root = (package, "apt-get install -y /var/tmp/tool.deb", "id -u; echo $HOME; chown 1000 /srv; test -f a.txt")
    box = project.open(files({"a.txt": ""}), setup_root=root, setup=("tool >~/made; touch /srv/mine",))
    assert output(box, "tool; cat ~/made; stat -c %u /srv/mine") == "tool\ntool\n1000\n"
    assert {"0", "/root"} <= set(project.said)
    again = len(project.said)
    project.open(files({"a.txt": ""}), setup_root=root, setup=("tool >~/made; echo other",))
    assert "id -u; echo $HOME; chown 1000 /srv; test -f a.txt" not in "".join(project.said[again:])


def test_a_build_container_is_as_shut_in_as_a_sandbox(project: Project) -> None:
    probe = (
        'python3 -c "import os, socket; '
        "print('interfaces', sorted(os.listdir('/sys/class/net'))); "
        "wanted = ('CapEff', 'NoNewPrivs', 'Seccomp:'); "
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith(wanted)])\""
    )
    box = project.open({}, setup=(probe, "! mount -t tmpfs x /mnt", "! unshare -r true"), setup_root=(probe,))
    assert output(box, "echo ok") == "ok\n"
    assert project.said.count("interfaces ['lo']") == 2
    assert "['0000000000000000', '1', '2']" in project.said


# What goes wrong


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            {"setup": ("true", "echo before; echo why >&2; exit 3")},
            r"\[project\] setup line 2 \(echo before; .*\) failed with exit code 3: .*why; .*network = \"setup\"",
        ),
        (
            {"setup_root": ("exit 4",), "setup": ("true",)},
            r"setup_root line 1 \(exit 4\) failed with exit code 4; mend",
        ),
        ({"setup": ("head -c 20m /dev/zero >~/x",), "home": "8m"}, r"raise \[sandbox\] home \(now 8m\)"),
        ({"setup": ("head -c 20m /dev/zero >x",), "workspace": "8m"}, r"raise \[sandbox\] workspace \(now 8m\)"),
        ({"setup": ("head -c 120m /dev/zero >~/x",), "profile": "strict"}, r"raise \[sandbox\] home \(now 100m\)"),
        ({"dockerfile": "Dockerfile"}, "is not among the repository's committed files"),
    ],
)
def test_a_failure_is_one_line_that_says_what_to_do(project: Project, spec: dict[str, Any], text: str) -> None:
    with pytest.raises(SandboxError, match=text) as caught:
        project.open({}, **spec)
    assert "\n" not in str(caught.value)
    assert not [image for image in setup_images(project.name) if any("/setup:" in tag for tag in image["RepoTags"])]


def test_setup_can_be_stopped(project: Project) -> None:
    token = Token()

    def say(line: str) -> None:
        if line == "begun":
            token.cancel()

    factory = Factory(SandboxSpec(name=project.name, setup=(f"echo begun; sleep 600; : {project.name}",)), say)
    with pytest.raises(SandboxError, match="setup was stopped"):
        factory.open({}, session="test", purpose="agent", cancel=token)


# Whose files

DOCKERFILE = """\
FROM {image}
LABEL project={name}
USER root
RUN mkdir -p /tools/bin && printf '#!/bin/sh\\necho from the image\\n' >/tools/bin/tool && chmod 755 /tools/bin/tool
COPY settings.txt /etc/settings.txt
RUN sed -i '/1000/d' /etc/passwd /etc/group
ENV PATH=/tools/bin:$PATH LEVEL=high
USER nobody
ENTRYPOINT ["/bin/false"]
"""


def dockerfile_project(default_image: str, name: str) -> dict[str, File]:
    text = DOCKERFILE.format(image=default_image, name=name)
    return files({
        "ci/Dockerfile": text, "settings.txt": "committed\n", ".dockerignore": "*.log\n", "noise.log": "1",
    })  # fmt: skip


def test_the_repository_s_own_dockerfile_is_the_base(project: Project, default_image: str) -> None:
    held = dockerfile_project(default_image, project.name)
    spec: dict[str, Any] = {"dockerfile": "./ci/Dockerfile", "setup": ("tool >~/said",)}
    box = project.open(held, **spec)
    assert output(box, "tool; cat ~/said /etc/settings.txt; echo $LEVEL; id -un; id -gn") == (
        "from the image\nfrom the image\ncommitted\nhigh\nagent\nagent\n"
    )
    assert any(line.startswith("Step 1/") for line in project.said)
    told = len(project.said)
    project.open(held | files({"noise.log": "2"}), **spec)
    assert len(project.said) == told


def test_a_dockerfile_that_fails_says_where(project: Project, default_image: str) -> None:
    held = files({"Dockerfile": f"FROM {default_image}\nRUN echo because && exit 7\n"})
    with pytest.raises(SandboxError, match=r"cannot be built: .*exit 7.*because.*network = \"setup\"") as caught:
        project.open(held, dockerfile="Dockerfile")
    assert "\n" not in str(caught.value)


def test_setup_runs_with_the_files_it_is_given_and_not_with_the_agent_s(project: Project) -> None:
    base = files({"package.json": "{}", "who.sh": "echo base"})
    theirs = base | files({"package.json": '{"x": 1}', "who.sh": "echo agent"})
    factory = project.factory(setup=("sh ./who.sh >~/who",))
    opened: list[tuple[Callable[[], Mapping[str, File]] | None, str]] = [(lambda: base, "base"), (None, "agent")]
    for given, wanted in opened:
        with factory.open(theirs, session="test", purpose="verify", setup=given) as box:
            assert output(box, "cat ~/who; sh who.sh") == f"{wanted}\nagent\n"


def test_old_images_are_pruned_by_repository(project: Project) -> None:
    project.open({}, setup=("echo 0 >~/number",)).close()
    (first,) = setup_images(project.name)
    for number in (1, 2):
        project.open({}, setup=(f"echo {number} >~/number",)).close()
    assert len(setup_images(project.name)) == 3
    other = Project()
    try:
        other.open({}, setup=("echo other >~/number",)).close()
        kept = {image["Id"] for image in setup_images(project.name)} - {first["Id"]}
        newest = project.open({}, setup=("echo 2 >~/number",))
        assert prune_images(2, project.name) == 1
        assert {image["Id"] for image in setup_images(project.name)} == kept
        assert len(setup_images(other.name)) == 1
        assert output(newest, "cat ~/number") == "2\n"
    finally:
        other.end()


def test_an_executable_script_of_the_repository_can_be_the_setup(project: Project) -> None:
    held = {"scripts/setup.sh": File(EXECUTABLE, b"#!/bin/sh\necho done >~/done\n")}
    box = project.open(held, setup=("./scripts/setup.sh",))
    assert output(box, "cat ~/done") == "done\n"


def test_an_image_without_git_and_tar_keeps_what_has_a_well_known_name(project: Project, slim_image: str) -> None:
    lines = ("mkdir -p node_modules/a/shut; echo x >node_modules/a/shut/x; chmod 500 node_modules/a/shut",
             "ln -s a node_modules/b; ln -s /etc/hostname ~/host; echo y >~/y; chmod 640 ~/y; echo z >z")  # fmt: skip
    box = project.open(files({"a.txt": "a\n"}), image="slim", setup=lines)
    assert output(box, "cat node_modules/b/shut/x ~/y; ls; stat -c %a ~/y node_modules/a/shut; readlink ~/host") == (
        "x\ny\na.txt\nnode_modules\n640\n500\n/etc/hostname\n"
    )
    box.rebuild()
    assert output(box, "cat node_modules/b/shut/x ~/y") == "x\ny\n"


def test_a_session_too_many_is_refused_before_its_setup(project: Project) -> None:
    fields: dict[str, Any] = {"image": "slim", "setup": ("echo it ran",), "max_sandboxes": 1}
    with project.factory(image="slim").open({}, session="one", purpose="agent"):
        asked: list[str] = []

        def trusted() -> dict[str, File]:
            asked.append("files")
            return {}

        with pytest.raises(SandboxError, match=r"1 session holds a sandbox already, and \[sandbox\] max_sandboxes = 1"):
            project.factory(**fields).open({}, session="two", purpose="agent", setup=trusted)
        assert (asked, project.said, setup_images(project.name)) == ([], [], [])
        # The session that holds one may have more.
        project.factory(**fields).open({}, session="one", purpose="verify", setup=trusted).close()
    assert asked == ["files"]
