"""Writes the reference from the doc strings: one page for each subject.

    python3 docs.py DIRECTORY
"""

import ast
import shutil
import sys
from pathlib import Path
from typing import Iterable, Union

PACKAGE = Path(__file__).parent / "ngx_sandbox"
NOTE = "<!-- Written by sdk/python/docs.py from the doc strings. -->"
WIDTH = 76

# Page, its title, the file, and the classes in it; None: all.
PAGES = [
    ("client", "The client", "_sync/client.py", ["Client"]),
    ("sandbox", "Sandboxes and sessions", "_sync/sandbox.py", None),
    ("operations", "Commands, processes, files, code, git, backups",
     "_sync/operations.py", None),
    ("types", "Results", "types.py", None),
    ("errors", "Errors", "errors.py", None),
]

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]


def block(code: str) -> str:
    return f"```python\n{code}\n```"


def text_of(node: Union[Function, ast.ClassDef]) -> list[str]:
    text = ast.get_docstring(node)

    return [text] if text else []


def parameters(node: Function) -> list[str]:
    args = node.args
    shown = []
    plain = args.posonlyargs + args.args
    defaults = [None] * (len(plain) - len(args.defaults)) + args.defaults

    def one(arg: ast.arg, default: Union[ast.expr, None], stars: str = "") \
            -> str:
        text = stars + arg.arg

        if arg.annotation is not None:
            text += f": {ast.unparse(arg.annotation)}"
        if default is not None:
            text += (" = " if arg.annotation else "=") + ast.unparse(default)
        return text

    for arg, default in zip(plain, defaults):
        if arg.arg not in ("self", "cls"):
            shown.append(one(arg, default))
    if args.vararg:
        shown.append(one(args.vararg, None, "*"))
    elif args.kwonlyargs:
        shown.append("*")
    for arg, default in zip(args.kwonlyargs, args.kw_defaults):
        shown.append(one(arg, default))
    if args.kwarg:
        shown.append(one(args.kwarg, None, "**"))
    return shown


def signature(node: Function, name: str) -> str:
    shown = parameters(node)
    result = f" -> {ast.unparse(node.returns)}" \
        if node.returns and node.name != "__init__" else ""
    line = f"{name}({', '.join(shown)}){result}"

    if len(line) <= WIDTH or not shown:
        return line
    return f"{name}(\n    " + ",\n    ".join(shown) + f"\n){result}"


def is_property(node: Function) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "property"
               for d in node.decorator_list)


def functions(node: ast.ClassDef) -> Iterable[str]:
    for member in node.body:
        if not isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)) \
                or member.name.startswith("_"):
            continue

        heading = f"### {node.name}.{member.name}"
        code = f"{member.name}: {ast.unparse(member.returns)}" \
            if is_property(member) and member.returns \
            else signature(member, member.name)
        yield "\n\n".join([heading, block(code), *text_of(member)])


def attributes(source: str, node: ast.ClassDef) -> list[str]:
    """A dataclass's members with their comments, as they are written."""
    lines = source.splitlines()
    shown = []

    for member in node.body:
        if not isinstance(member, ast.AnnAssign):
            continue

        above = member.lineno - 2
        comments: list[str] = []

        while lines[above].strip().startswith("#:"):
            comments.insert(0, lines[above].strip())
            above -= 1

        shown += [*comments, ast.unparse(member)]

    return [block("\n".join(shown))] if shown else []


def class_page(source: str, node: ast.ClassDef) -> str:
    bases = [ast.unparse(base) for base in node.bases]
    parts = [f"## {node.name}"]

    if bases and bases != ["object"]:
        parts.append("extends " + ", ".join(f"`{base}`" for base in bases))

    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            parts.append(block(signature(member, node.name)))

    parts += text_of(node) + attributes(source, node)

    return "\n\n".join([*parts, *functions(node)])


def main() -> int:
    out = Path(sys.argv[1])

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    index = [NOTE, "# The Python client",
             "Each class of the waiting client has an asynchronous one with "
             "the same\nmethods: `AsyncClient`, `AsyncSandbox`, "
             "`AsyncSession`, `AsyncProcess`.",
             "\n".join(f"- [{title}]({page}.md)"
                       for page, title, _, _ in PAGES)]
    (out / "README.md").write_text("\n\n".join(index) + "\n")

    for page, title, file, wanted in PAGES:
        source = (PACKAGE / file).read_text()
        shown = [class_page(source, node) for node in ast.parse(source).body
                 if isinstance(node, ast.ClassDef)
                 and not node.name.startswith("_")
                 and (wanted is None or node.name in wanted)]

        (out / f"{page}.md").write_text(
            "\n\n".join([NOTE, f"# {title}", *shown]) + "\n")

    return 0


if __name__ == "__main__":
    sys.exit(main())
