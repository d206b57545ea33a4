"""The task that the prompts are measured on: a small shop, a request, and the turns of an agent that does it.

The turns are made by hand after what models do: they look around, change, fail a test, mend it. What the tools answer
is real.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files

from tests.models.turns import Turn, call, text

REQUEST = (
    "Add discount codes: a code takes a percentage off the subtotal before tax, at most one code a cart. Unknown codes "
    "are refused with an error. The receipt shows the discount as a row of its own. Cover it with tests."
)
TEST = "python3 -m unittest discover -s tests"
PLAN = """1. Add shop/discount.py with the codes, an error for unknown ones, and the amount that a code takes off.
2. Let the cart in shop/cart.py keep one code, and compute what is due before tax.
3. Show the discount in shop/report.py, and compute the tax from what is due.
4. Add tests/test_discount.py and run all tests.
5. Name the codes in README.md."""

DISCOUNT = '''"""Discount codes."""

CODES = {"SPRING": 10, "STAFF": 25}


class UnknownCode(Exception):
    """Nobody has given out that code."""


def percent(code: str) -> int:
    """What a code takes off, in percent.

    Raises:
        UnknownCode: there is no such code.
    """
    try:
        return CODES[code.strip().upper()]
    except KeyError:
        raise UnknownCode(code) from None


def discount(cents: int, code: str) -> int:
    """What a code takes off an amount."""
    return int(cents * percent(code) / 100)
'''

TESTS = """import unittest

from shop.cart import Cart
from shop.discount import UnknownCode, discount
from shop.report import receipt


class DiscountTest(unittest.TestCase):
    def test_percent_of_the_amount(self):
        self.assertEqual(discount(1000, "spring"), 100)

    def test_cents_are_rounded(self):
        self.assertEqual(discount(99, "STAFF"), 25)

    def test_unknown_codes_are_refused(self):
        with self.assertRaises(UnknownCode):
            Cart().use_code("NOTHING")

    def test_receipt_shows_it(self):
        cart = Cart()
        cart.add("tea", 1000)
        cart.use_code("SPRING")
        self.assertIn("discount", receipt(cart, "DE"))
"""


def shop() -> Mapping[str, str]:
    """The repository's files: those of the demo, with advice for agents."""
    text = (files("backspace_tui") / "demo_data" / "shop.toml").read_text(encoding="utf-8")
    advice = (
        "# For agents\n\nDocstrings are one sentence. Amounts are whole cents, never floats. "
        f"Run `{TEST}` before you finish.\n"
    )
    return {**tomllib.loads(text)["files"], "AGENTS.md": advice}


def edit(path: str, old: str, new: str) -> Turn:
    return call("edit_file", path=path, old=old, new=new)


def turns() -> list[Turn]:
    """Fourteen turns; in the ninth a test fails, in the tenth the reason is mended."""
    return [
        text("I start with what there is.") + call("list_files") + call("run_command", command=TEST),
        text("Cart, tax and receipt belong together here.")
        + call("read_files", paths=["shop/cart.py", "shop/tax.py", "shop/report.py", "tests/test_shop.py"]),
        call("search", pattern="subtotal"),
        text("The codes get a module of their own, like the tax.")
        + call("write_file", path="shop/discount.py", content=DISCOUNT),
        edit(
            "shop/cart.py",
            "from dataclasses import dataclass, field\n",
            "from dataclasses import dataclass, field\n\nfrom shop.discount import discount, percent\n",
        ),
        text("The cart keeps one code and refuses unknown ones at once.")
        + edit(
            "shop/cart.py",
            "    lines: list[Line] = field(default_factory=list)\n",
            '    lines: list[Line] = field(default_factory=list)\n    code: str = ""\n',
        )
        + edit(
            "shop/cart.py",
            "    def is_empty(self) -> bool:\n",
            "    def use_code(self, code: str) -> None:\n"
            '        """Let a code take its share off; raises UnknownCode."""\n'
            "        percent(code)\n"
            "        self.code = code\n\n"
            "    def discount(self) -> int:\n"
            '        """What the code takes off the subtotal."""\n'
            "        return discount(self.subtotal(), self.code) if self.code else 0\n\n"
            "    def is_empty(self) -> bool:\n",
        ),
        text("Now the receipt.")
        + edit(
            "shop/report.py",
            "    taxes = tax(subtotal, country)\n",
            "    discount = cart.discount()\n    taxes = tax(subtotal - discount, country)\n",
        )
        + edit(
            "shop/report.py",
            '    rows.append(row("tax", money(taxes)))\n    rows.append(row("total", money(subtotal + taxes)))\n',
            "    if discount:\n"
            '        rows.append(row(f"discount {cart.code}", money(-discount)))\n'
            '    rows.append(row("tax", money(taxes)))\n'
            '    rows.append(row("total", money(subtotal - discount + taxes)))\n',
        ),
        call("write_file", path="tests/test_discount.py", content=TESTS),
        call("run_command", command=TEST),
        text("`int` cuts off 24.75; round it.")
        + edit(
            "shop/discount.py",
            "    return int(cents * percent(code) / 100)\n",
            "    return round(cents * percent(code) / 100)\n",
        ),
        call("run_command", command=TEST),
        edit(
            "README.md",
            "A cart, the tax on it and a receipt.",
            "A cart, discount codes (`shop/discount.py`), the tax and a receipt.",
        ),
        call("run_command", command="git diff --stat"),
        call(
            "finish",
            summary="Carts take one discount code, which the receipt shows and the tax is computed after. New tests "
            "cover it; test_quantity_counts failed before and still does.",
        ),
    ]
