"""Which definitions of Weir a stage reaches: the code on which its result depends.

From a stage's `run` the names that each definition uses are followed to the functions, classes and
constants that they stand for, at any depth, whichever module holds them. A class is followed whole,
so methods need no resolving: an object's class is named where the object is made. A name that
cannot be resolved takes in the whole of its module. What modules do when they are imported, beyond
defining names, counts for all that import them.

Where code chooses by the kind of a model, only the arms count that the model may take: see
`content.py`. A model is told by the words of `others`, which are those of other kinds: a word that
is of no kind excludes nothing, so a `match` on something else that has one of the names is safe.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from weir.files import file_digest
from weir.pipeline.content import (
    BUILTINS,
    EFFECTS,
    EVERYTHING,
    Content,
    Found,
    Origin,
    Part,
    Target,
    content,
    imported,
    is_own,
)

SETTINGS = "settings.sections"
"""Part of a task that names the types of all its settings. Those of a stage's own node and of
the models below it are among its roots (`code.roots`)."""

DEPTH = 3
"""Levels of used definitions in a definition's own hash: two of one name are told apart by them."""


@dataclass
class Module:
    """Top level of a source file.

    Attributes:
        defined: the statements that make up each definition, by its name.
        imports: what each imported name stands for.
        typing: names that only annotations know.
        loggers: names of loggers.
        effects: statements that do more than define a name, in their order.
        runs: modules of Weir that importing this one imports.
    """

    name: str
    file: Path
    defined: dict[str, tuple[ast.stmt, ...]] = field(default_factory=dict)
    imports: dict[str, Origin] = field(default_factory=dict)
    typing: set[str] = field(default_factory=set)
    loggers: set[str] = field(default_factory=set)
    effects: list[ast.stmt] = field(default_factory=list)
    runs: list[Origin] = field(default_factory=list)

    def public(self) -> list[str]:
        """Names that others may take from the module, imported ones of Weir's too."""
        own = [name for name, origin in self.imports.items() if is_own(origin.module)]
        return [name for name in (*self.defined, *own) if not name.startswith("_")]


class Source:
    """Weir's source code in a folder, read once.

    Args:
        package: the folder `weir`.
    """

    def __init__(self, package: Path) -> None:
        self._files = {_module_name(file, package): file for file in package.rglob("*.py")}
        self._modules: dict[str, Module | None] = {}
        self._found: dict[tuple[str, str, tuple[str, ...]], Found] = {}
        self._contents: dict[Target, Content] = {}
        self._hashes: dict[tuple[Target, str, frozenset[str], int], str] = {}

    def digests(
        self, roots: Iterable[Target], task: str, others: frozenset[str] = frozenset()
    ) -> set[str]:
        """Hashes of all that some definitions reach, and of data files beside it.

        Args:
            task: the kind of data.
            others: words of the kinds of models that are not concerned.
        """
        reached = self.reached(roots, task, others)
        code = {
            self._hash(target, task, others, DEPTH)
            for target in reached
            if target.name != EFFECTS or self._content(target).text
        }
        return code | {
            hash_of(file.name, file_digest(file))
            for target in reached
            if target.name == EFFECTS
            for file in self._beside(target.module)
        }

    def reached(
        self, roots: Iterable[Target], task: str, others: frozenset[str] = frozenset()
    ) -> set[Target]:
        """All definitions that some definitions use, at any depth; see `digests`.

        Of each module that is imported on the way there is one target named `EFFECTS`.
        """
        seen: set[Target] = set()
        frontier: list[Target] = []
        for root in roots:
            if self.module(root.module) is None:
                raise ValueError(f"{root.module}: there is no such module")
            found = self.lookup(Origin(root.module, root.name), ()).target
            frontier.append(found or root)
        while frontier:
            target = frontier.pop()
            module = self.module(target.module)
            if target in seen or module is None:
                continue
            seen.add(target)
            if target.name == EFFECTS:
                frontier += self._imported(module)
            else:
                frontier.append(Target(module.name, EFFECTS))
            for use in self._content(target).used(others):
                frontier += self._targets(use, task)
        return seen

    def module(self, name: str) -> Module | None:
        """Top level of a module, or None if there is no such one."""
        if name not in self._modules:
            file = self._file(name)
            self._modules[name] = None if file is None else read_module(name, file)
        return self._modules[name]

    def _file(self, name: str) -> Path | None:
        return self._files.get(name)

    def _imported(self, module: Module) -> list[Target]:
        """Modules that run when this one is imported."""
        words = module.name.split(".")
        found = [".".join(words[:count]) for count in range(1, len(words))]
        for origin in module.runs:
            inner = f"{origin.module}.{origin.name}"
            found.append(inner if origin.name and self._file(inner) else origin.module)
        return [Target(name, EFFECTS) for name in found]

    def _beside(self, name: str) -> list[Path]:
        """Data files of a package, without those of packages below it."""
        module = self.module(name)
        if module is None or module.file.name != "__init__.py" or name == "weir":
            return []
        found: list[Path] = []
        folders = [module.file.parent]
        while folders:
            for path in sorted(folders.pop().iterdir()):
                if path.is_dir():
                    if path.name != "__pycache__" and not (path / "__init__.py").exists():
                        folders.append(path)
                elif path.suffix != ".py":
                    found.append(path)
        return found

    def _targets(self, use: Target | Part, task: str) -> list[Target]:
        if isinstance(use, Target):
            return [use]
        if use.module == SETTINGS:
            return []
        name = f"weir.tasks.{use.task or task}.{use.module}"
        module = self.module(name)
        if module is None:
            return []  # not every task has every part
        found = [self.lookup(Origin(name, item), ()) for item in use.names or module.public()]
        return [item.target for item in found if item.target] or [Target(name, EFFECTS)]

    def _content(self, target: Target) -> Content:
        if target not in self._contents:
            module = self.module(target.module)
            if module is None:
                return Content("", ())
            self._contents[target] = self._read(module, target.name)
        return self._contents[target]

    def _read(self, module: Module, name: str) -> Content:
        if name == EVERYTHING:
            return Content("", tuple(Target(module.name, item) for item in module.defined))
        statements = tuple(module.effects) if name == EFFECTS else module.defined[name]
        return content(
            statements,
            lambda name, attributes: self.resolve(module, name, attributes),
            self.lookup,
        )

    def _hash(self, target: Target, task: str, others: frozenset[str], depth: int) -> str:
        """Hash of a definition and, to some depth, of what it uses."""
        key = (target, task, others, depth)
        if key not in self._hashes:
            own = self._content(target)
            below = [
                self._hash(used, task, others, depth - 1)
                for use in (own.used(others) if depth else ())
                for used in self._targets(use, task)
                if used.name != EFFECTS
            ]
            self._hashes[key] = hash_of(own.text, *below)
        return self._hashes[key]

    def resolve(self, module: Module, name: str, attributes: tuple[str, ...]) -> Found:
        """What a name at the top level of a module stands for, with attributes of it."""
        key = (module.name, name, attributes)
        if key not in self._found:
            self._found[key] = self._resolve(module, name, attributes)
        return self._found[key]

    def _resolve(self, module: Module, name: str, attributes: tuple[str, ...]) -> Found:
        text = ".".join((name, *attributes))
        if name in module.loggers:
            return Found(".".join(("logging.getLogger", *attributes)))
        if name in module.defined:
            return Found(f":{text}", Target(module.name, name))
        if name in module.imports:
            return self.lookup(module.imports[name], attributes)
        if name in module.typing or name in BUILTINS:
            return Found(text)
        return Found(text, Target(module.name, EVERYTHING))

    def lookup(self, origin: Origin, attributes: tuple[str, ...]) -> Found:
        """What an imported name stands for, through modules that only pass it on."""
        source, name = origin
        if not is_own(source):
            return Found(".".join((source, *((name,) if name else ()), *attributes)))
        if name is None and attributes:
            name, attributes = attributes[0], attributes[1:]
        module = self.module(source)
        if name is None:
            return Found(":module", Target(source, EVERYTHING))
        inner = f"{source}.{name}"
        if module is not None:
            known = name in module.defined or name in module.typing or name in module.loggers
            # A package may import its own submodule by name.
            passed_on = name in module.imports and module.imports[name] != (source, name)
            if known or passed_on:
                return self.resolve(module, name, attributes)
        if self._file(inner):
            return self.lookup(Origin(inner, None), attributes)
        return Found(".".join((f":{name}", *attributes)), Target(source, EVERYTHING))


def _module_name(file: Path, package: Path) -> str:
    words = ("weir", *file.relative_to(package).with_suffix("").parts)
    return ".".join(words[:-1] if words[-1] == "__init__" else words)


def hash_of(*texts: str) -> str:
    """Hash of texts, in their order."""
    found = hashlib.sha256()
    for text in texts:
        data = text.encode()
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()


def read_module(name: str, file: Path) -> Module:
    """The top level of a source file, sorted by what its statements do."""
    module = Module(name, file)
    bindings: list[tuple[list[str], ast.stmt]] = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Assert():
                continue
            case ast.ImportFrom(module="__future__"):
                continue
            case ast.Import() | ast.ImportFrom():
                _add_import(module, node)
            case ast.If(test=test) if _asks("TYPE_CHECKING", test):
                for inner in node.body:
                    module.typing.update(_bound(inner))
                for inner in node.orelse:
                    _add_effect(module, inner, bindings)
            case ast.If(test=test) if _asks("__name__", test):
                continue
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                bindings.append(([node.name], node))
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                _add_assignment(module, node, bindings)
            case _:
                _add_effect(module, node, bindings)
    _define(module, bindings)
    return module


def _add_import(module: Module, node: ast.Import | ast.ImportFrom) -> None:
    for name, origin in imported(node):
        module.imports[name] = origin
        if is_own(origin.module):
            module.runs.append(origin)
    if isinstance(node, ast.Import):
        # `import a.b` binds `a`, but runs `a.b`.
        module.runs += [Origin(item.name, None) for item in node.names if is_own(item.name)]


def _add_effect(module: Module, node: ast.stmt, bindings: list[tuple[list[str], ast.stmt]]) -> None:
    module.effects.append(node)
    bindings.append((sorted(_bound(node)), node))
    for inner in ast.walk(node):
        if isinstance(inner, (ast.Import, ast.ImportFrom)):
            module.runs += [origin for _, origin in imported(inner) if is_own(origin.module)]


def _add_assignment(
    module: Module,
    node: ast.Assign | ast.AnnAssign | ast.AugAssign,
    bindings: list[tuple[list[str], ast.stmt]],
) -> None:
    names = sorted(_bound(node))
    if names == ["__all__"]:
        return
    if len(names) == 1 and node.value is not None and _is_logger(node.value):
        module.loggers.update(names)
    elif names:
        bindings.append((names, node))
    else:
        _add_effect(module, node, bindings)  # it sets an attribute or an item


def _define(module: Module, bindings: list[tuple[list[str], ast.stmt]]) -> None:
    """Give each name its statements; from where one is bound to where it is again, all of them."""
    places: dict[str, list[int]] = {}
    for number, (names, _) in enumerate(bindings):
        for name in names:
            places.setdefault(name, []).append(number)
    spans: list[tuple[int, int]] = []
    for first, last in sorted((found[0], found[-1]) for found in places.values()):
        if spans and first <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(last, spans[-1][1])
        else:
            spans.append((first, last))
    for first, last in spans:
        group = bindings[first : last + 1]
        statements = tuple(node for _, node in group)
        module.defined |= {name: statements for names, _ in group for name in names}


def _bound(node: ast.stmt) -> set[str]:
    """Names that a statement binds where it stands."""
    found: set[str] = set()
    frontier: list[ast.AST] = [node]
    while frontier:
        inner = frontier.pop()
        match inner:
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.Import() | ast.ImportFrom():
                found.update(name for name, _ in imported(inner))
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
                continue
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp():
                continue
            case ast.GeneratorExp():
                continue
        frontier += list(ast.iter_child_nodes(inner))
    return found


def _asks(name: str, test: ast.expr) -> bool:
    return any(
        isinstance(node, (ast.Name, ast.Attribute))
        and (node.id if isinstance(node, ast.Name) else node.attr) == name
        for node in ast.walk(test)
    )


def _is_logger(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "logging.getLogger"
