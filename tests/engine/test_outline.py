from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backspace_tui.engine.outline import LIMIT, outline, symbols


@pytest.mark.parametrize(
    ("path", "text", "names"),
    [
        ("a.py", "import os\nX = 1\n\ndef f(a):\n    def g(): pass\n\nasync def h():\n    pass\n\n\nclass A(B):\n"
         "    def method(self): pass\n\ndef _private(): pass\n", ["f", "h", "A"]),
        ("a.py", "def _only(): pass\n", ["_only"]),
        ("a.ts", "export default class Cart {\n  add() {}\n}\nexport const tax = 1\nconst sum = (a) => a\nlet x = 3\n"
         "export interface Item {}\nexport async function load() {}\ntype Id = string\n",
         ["Cart", "tax", "sum", "Item", "load", "Id"]),
        ("a.js", "function f() {}\nmodule.exports.g = f\nexports.h = 1\nclass A {}\n", ["f", "g", "h", "A"]),
        ("a.go", "package a\n\nfunc Sum(a int) int {\n}\n\nfunc (c *Cart) Add(i Item) {}\ntype Cart struct {\n}\n",
         ["Sum", "Add", "Cart"]),
        ("a.rs", "pub fn sum() {}\nfn inner() {}\npub(crate) struct Cart;\npub trait Tax {}\n"
         "impl Cart {\n    fn x() {}\n}\nmacro_rules! twice {}\n", ["sum", "inner", "Cart", "Tax", "twice"]),
        ("A.java", "package a;\n\npublic final class Cart {\n    private int x;\n    public static class Item {}\n}\n"
         "interface Tax {}\n", ["Cart", "Item", "Tax"]),
        ("a.c", "#include <x.h>\n#define MAX(a, b) a\nstruct cart {\n};\nstatic int sum(int a)\n{\n  return f(a);\n}\n"
         "int declared(int a);\nchar *name(void) {\n", ["MAX", "cart", "sum", "name"]),
        ("a.rb", "module Shop\n  class Cart\n    def add(x)\n", ["Shop", "Cart"]),
        ("a.php", "<?php\nfinal class Cart {\n    public function add() {}\n}\nfunction tax() {}\n", ["Cart", "tax"]),
        ("a.sh", "build() {\n}\nfunction check {\n", ["build", "check"]),
        ("a.swift", "public struct Cart {\n}\nfunc tax() {}\n", ["Cart", "tax"]),
        ("a.lua", "local function f()\nfunction M.g()\n", ["f", "M.g"]),
        ("a.ex", "defmodule Shop.Cart do\n  def add(a), do: a\n", ["Shop.Cart", "add"]),
        ("a.hs", "data Cart = Cart\nsum :: Int\n", ["Cart", "sum"]),
        ("a.kt", "data class Cart(val a: Int)\nfun tax() {}\n", ["Cart", "tax"]),
        ("a.txt", "def f(): pass\n", []),
        ("noext", "def f(): pass\n", []),
    ],
)  # fmt: skip
def test_top_level_names(path: str, text: str, names: list[str]) -> None:
    assert symbols(path, text) == names
    assert symbols(path, text.replace("\n", "\r\n")) == names


def test_many_names_are_counted_and_long_ones_cut() -> None:
    assert symbols("a.py", "".join(f"def f{n}(): pass\n" for n in range(30)))[-2:] == ["f11", "18 more"]
    assert symbols("a.py", f"def {'x' * 79}(): pass\n") == ["x" * 40]
    assert symbols("a.js", "function f() {}" + "x;" * 5_000) == []


def test_what_others_import_comes_first() -> None:
    files = {
        "README.md": "",
        "shop/__init__.py": "",
        "shop/zebra.py": "def total(): pass\n",
        "shop/app.py": "from shop.zebra import total\ndef main(): pass\n",
        "shop/cart.py": "import shop.zebra\nclass Cart: pass\n",
        "shop/tax.py": "from shop import zebra\nclass Tax: pass\n",
        "tests/test_app.py": "from shop import app, zebra\ndef test_app(): pass\n",
        "vendor/lib/app.py": "def foreign(): pass\n",
    }
    assert outline(files, lambda path: files[path].encode()).split("\n") == [
        "shop/zebra.py: total",
        "shop/app.py: main",
        "shop/cart.py: Cart",
        "shop/tax.py: Tax",
        "tests/test_app.py: test_app",
        "vendor/lib/app.py: foreign",
        "./: README.md",
        "shop/: __init__.py",
    ]


def test_what_does_not_fit_is_counted() -> None:
    files = [f"src/part{n}/file{m}.py" for n in range(40) for m in range(50)] + [f"docs/{n}.md" for n in range(60)]
    told = outline(files, lambda path: b"def f(): pass\n")
    assert len(told) <= LIMIT
    assert "src/part0/file0.py: f" in told.split("\n")
    assert "docs/: 60 other files" in told.split("\n")
    assert told.split("\n")[-1].endswith("folders; list_files shows them)")


def test_a_huge_repository_is_read_in_part() -> None:
    chosen = random.Random(1)
    paths = [f"{'/'.join(chosen.choices('abcdef', k=n % 7 + 1))}/{n}.{'py' if n % 2 else 'md'}" for n in range(50_000)]
    read: list[str] = []

    def content(path: str) -> bytes:
        read.append(path)
        return b"def f(): pass\n" * 1_000

    told = outline(paths, content)
    assert 3_000 < len(told) <= LIMIT
    assert 100 < len(read) <= 300


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20).map(lambda name: name.strip("/") or "x"), st.binary(max_size=50), max_size=30
    ),
    st.integers(300, 2_000),
)
def test_any_tree_has_an_outline_that_fits(files: dict[str, bytes], limit: int) -> None:
    files |= {f"{path}.py": data for path, data in files.items()}
    assert len(outline(files, lambda path: files[path], limit)) <= limit
