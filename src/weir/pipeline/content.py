"""What a statement of Weir's code does, without what it says and where it lies.

One pass over the syntax tree of a top-level statement gives a text to hash and the names that it
takes from elsewhere. Left out are

- docstrings and other bare strings, comments and layout;
- annotations of parameters, results and variables, which Python does not act on. Those in the body
  of a class stay, for they make the fields of settings and dataclasses; so do those of a function
  with a decorator that is not known to ignore them;
- the words of errors: all arguments of `MESSAGE_ONLY` errors, the strings among those of other
  errors and of functions whose result is annotated as an error, and the bodies of these functions;
- what only speaks: `print` to the terminal, `warnings.warn`, a logger's lines, `assert`, and the
  labels of progress lines;
- descriptions of settings and help texts;
- local variables that hold a string which nothing but these words reads;
- imports and names of modules: a name stands for what it is imported from.

All else counts, titles in figures and definitions of scores too: these are in results.

A `match` on what kind of model there is, by its section or by the setting that names its kind, has
arms of which a model takes one. What an arm uses is therefore noted with the arm's words.
"""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

EVERYTHING = "*"
"""In place of a definition's name: all definitions of the module."""

EFFECTS = ""
"""In place of a definition's name: what the module does when it is imported."""

MESSAGE_ONLY = {":UserError", ":WeirError", "ValueError", "TypeError", "RuntimeError"} | {
    "NotImplementedError",
    "AssertionError",
}
"""Errors that hold nothing but a message."""

DESCRIPTIONS = {"pydantic.Field": ("description", "title", "examples")}
"""Keywords that describe, by what is called."""

LABELS = {":Progress": ("label", "noun"), ":train": ("label",), ":evaluate": ("label",)}
"""Keywords that name a run in progress lines, by Weir's own name; the first may be positional."""

SHOWN = {":Progress"}
"""Weir's classes that only show something: they have no part in a result."""

IGNORE_ANNOTATIONS = {"property", "staticmethod", "classmethod", "cached_property", "cache"} | {
    "contextmanager",
    "abstractmethod",
    "no_grad",
    "model_validator",
    "field_validator",
    "once_differentiable",
}
"""Decorators that do nothing with the annotations of what they decorate."""


KIND_NAMES = {"section", "method", "model"}
"""Names by which a `match` asks for the kind of a model: of a variable, an attribute, a key."""

Guards = tuple[frozenset[str], ...]
"""The words of the arms around a use, outermost first; a model that comes there has one of each."""


class Target(NamedTuple):
    """A definition of Weir's, by the module that holds it."""

    module: str
    name: str


class Part(NamedTuple):
    """What a stage takes from a module of its task; no names stands for all public ones."""

    module: str
    names: tuple[str, ...]
    task: str | None = None


class Origin(NamedTuple):
    """What an import binds a name to; without a name, to the module itself."""

    module: str
    name: str | None


class Found(NamedTuple):
    """What a name stands for: words for it that say nothing of places, and Weir's definition."""

    text: str
    target: Target | None = None

    @property
    def is_known(self) -> bool:
        """Whether it is known which definition it is."""
        return self.target is None or self.target.name != EVERYTHING


@dataclass(frozen=True)
class Content:
    """Text of what a statement does, and what it uses, in the order of the text.

    Attributes:
        guards: of each use; empty where no arm is around it.
    """

    text: str
    uses: tuple[Target | Part, ...]
    guards: tuple[Guards, ...] = ()

    def used(self, others: frozenset[str]) -> tuple[Target | Part, ...]:
        """What is used by models that have none of the words `others`."""
        if not self.is_guarded:
            return self.uses
        return tuple(
            use
            for use, guards in zip(self.uses, self.guards, strict=True)
            if not any(words <= others for words in guards)
        )

    @property
    def is_guarded(self) -> bool:
        """Whether any of the uses is in an arm."""
        return any(self.guards)


@dataclass
class _Reference:
    place: int
    name: str
    attributes: tuple[str, ...]


@dataclass
class _Scope:
    """Names of a function, comprehension or class body while it is read."""

    kind: str
    first: int
    bound: Counter[str] = field(default_factory=Counter)
    imports: dict[str, Origin] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    words: list[tuple[str, int, int]] = field(default_factory=list)
    parts: list[tuple[str, int, list[ast.Call]]] = field(default_factory=list)


def is_own(module: str) -> bool:
    """Whether a module is one of Weir's."""
    return module == "weir" or module.startswith("weir.")


def imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Origin]]:
    """The names that an import binds, and to what."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            yield alias.asname or whole, Origin(whole, None)
        return
    if node.level or node.module is None:
        raise ValueError(f"line {node.lineno}: a relative import; write the module's whole name")
    for alias in node.names:
        yield alias.asname or alias.name, Origin(node.module, alias.name)


def content(
    statements: tuple[ast.stmt, ...],
    resolve: Callable[[str, tuple[str, ...]], Found],
    lookup: Callable[[Origin, tuple[str, ...]], Found],
) -> Content:
    """What a few top-level statements do, in their order.

    Args:
        resolve: what a name of the module with attributes stands for.
        lookup: the same of what an import binds.
    """
    reader = _Reader(resolve, lookup)
    for statement in statements:
        reader.visit(statement)
    return reader.finish()


def is_words(node: ast.AST) -> bool:
    """Whether an expression puts a string together."""
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.BinOp(left=left, op=ast.Add() | ast.Mod(), right=right):
            return is_words(left) or (isinstance(node.op, ast.Add) and is_words(right))
        case ast.IfExp(body=body, orelse=orelse):
            return is_words(body) and is_words(orelse)
        case ast.Call(func=ast.Attribute(value=value, attr="join" | "format")):
            return is_words(value)
    return False


def asks_for_kind(subject: ast.expr) -> bool:
    """Whether the subject of a `match` is the kind of a model."""
    match subject:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in KIND_NAMES
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name in KIND_NAMES
    return False


def literals(pattern: ast.pattern) -> frozenset[str]:
    """The strings of which a pattern takes one; none if it may take something else too."""
    match pattern:
        case ast.MatchValue(value=ast.Constant(value=str(word))):
            return frozenset([word])
        case ast.MatchAs(pattern=ast.pattern() as inner):
            return literals(inner)
        case ast.MatchOr(patterns=patterns):
            found = [literals(each) for each in patterns]
            return frozenset().union(*found) if all(found) else frozenset()
    return frozenset()


def words_an_error(node: ast.stmt) -> bool:
    """Whether a function does nothing but word an error, by the annotation of its result."""
    match node:
        case ast.FunctionDef(returns=ast.Name(id=name)):
            return _is_error(name)
    return False


def _is_error(name: str) -> bool:
    return name.endswith(("Error", "Exception", "Warning"))


def _is_bare(node: ast.stmt) -> bool:
    """Whether a statement is a docstring, or a string like one."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _chain(node: ast.expr) -> tuple[ast.expr, tuple[str, ...]]:
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return node, tuple(reversed(attributes))


class _Reader:
    """The pass over the tree: pieces of text, and names that wait for the end of their scope."""

    def __init__(
        self,
        resolve: Callable[[str, tuple[str, ...]], Found],
        lookup: Callable[[Origin, tuple[str, ...]], Found],
    ) -> None:
        self.resolve = resolve
        self.lookup = lookup
        self.out: list[str] = []
        self.waiting: list[_Reference] = []
        self.uses: list[tuple[int, Target | Part]] = []
        self.arms: list[tuple[int, int, frozenset[str]]] = []
        self.scopes = [_Scope("module", 0)]
        self.handlers: dict[type, Callable[[Any], None]] = {
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Constant: self._constant,
            ast.Call: self._call,
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.ClassDef: self._class,
            ast.Lambda: self._lambda,
            ast.ListComp: self._comprehension,
            ast.SetComp: self._comprehension,
            ast.DictComp: self._comprehension,
            ast.GeneratorExp: self._comprehension,
            ast.NamedExpr: self._walrus,
            ast.Assign: self._assign,
            ast.AugAssign: self._assign,
            ast.AnnAssign: self._annotated,
            ast.Expr: self._expression,
            ast.Assert: lambda node: None,
            ast.Raise: self._raise,
            ast.Import: self._import,
            ast.ImportFrom: self._import,
            ast.Global: self._global,
            ast.Nonlocal: self._global,
            ast.Match: self._match,
            ast.ExceptHandler: self._binds,
            ast.MatchAs: self._binds,
            ast.MatchStar: self._binds,
            ast.MatchMapping: self._binds,
        }

    def finish(self) -> Content:
        for reference in self._settle(self.scopes.pop()):
            self._put(reference, self.resolve(reference.name, reference.attributes))
        self.uses.sort(key=lambda item: item[0])
        text = "\n".join(filter(None, self.out))
        uses = tuple(use for _, use in self.uses)
        if not self.arms:
            return Content(text, uses)
        self.arms.sort(key=lambda arm: arm[0])
        guards = (
            tuple(words for start, end, words in self.arms if start <= place < end)
            for place, _ in self.uses
        )
        return Content(text, uses, tuple(guards))

    def visit(self, node: ast.AST) -> None:
        handler = self.handlers.get(type(node))
        if handler is None:
            self._generic(node)
        else:
            handler(node)

    def _generic(self, node: ast.AST) -> None:
        self.out.append(type(node).__name__)
        for name in node._fields:
            if name != "ctx" and name != "type_comment":
                self._value(getattr(node, name))

    def _value(self, value: object) -> None:
        if isinstance(value, ast.AST):
            self.visit(value)
        elif isinstance(value, list):
            self.out.append("[")
            for item in value:
                self._value(item)
            self.out.append("]")
        else:
            self.out.append(repr(value))

    def _constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and node.value.startswith("weir."):
            # The name of a module is a place; what lies there may be read as data.
            self.uses.append((len(self.out), Target(node.value, EFFECTS)))
            self.out.append("place")
        else:
            self.out.append(repr(node.value))

    # Names

    def _name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._refer(node.id, ())
        else:
            self.scopes[-1].bound[node.id] += 1
            self.out.append(node.id)

    def _refer(self, name: str, attributes: tuple[str, ...]) -> None:
        self.waiting.append(_Reference(len(self.out), name, attributes))
        self.out.append(".".join((name, *attributes)))

    def _attribute(self, node: ast.Attribute) -> None:
        base, attributes = _chain(node)
        if isinstance(base, ast.Name):
            self._refer(base.id, attributes)
            return
        if isinstance(base, ast.Call) and self._is_part(base):
            self._part(base, attributes[:1])
        else:
            self.visit(base)
        self.out.append("." + ".".join(attributes))

    def _binds(self, node: ast.AST) -> None:
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name  # type: ignore[attr-defined]
        if name is not None:
            self.scopes[-1].bound[name] += 1
        self._generic(node)

    def _walrus(self, node: ast.NamedExpr) -> None:
        # It binds in the function, not in the comprehension around it.
        for scope in reversed(self.scopes):
            scope.bound[node.target.id] += 1
            if scope.kind != "comprehension":
                break
        self.out += ["NamedExpr", node.target.id]
        self.visit(node.value)

    def _global(self, node: ast.Global | ast.Nonlocal) -> None:
        self.scopes[-1].declared.update(node.names)
        self.out.append(type(node).__name__)
        for name in node.names:
            self._refer(name, ())

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for name, origin in imported(node):
            self.scopes[-1].imports[name] = origin
            if is_own(origin.module):
                self.uses.append((len(self.out), Target(origin.module, EFFECTS)))

    # Scopes

    def _settle(self, scope: _Scope) -> list[_Reference]:
        """Close a scope: settle its own names and give back the others."""
        mine = self.waiting[scope.first :]
        del self.waiting[scope.first :]
        if scope.words:
            mine = self._drop_words(scope, mine)
        for name, place, calls in scope.parts:
            self._settle_parts(place, calls, [item for item in mine if item.name == name])
        left = []
        for reference in mine:
            name = reference.name
            if name in scope.imports:
                self._put(reference, self.lookup(scope.imports[name], reference.attributes))
            elif scope.kind == "class" and name in scope.bound:
                # Methods do not see the names of their class's body, so a global goes first.
                if self.resolve(name, ()).is_known:
                    left.append(reference)
            elif scope.kind == "module" or name in scope.declared or name not in scope.bound:
                left.append(reference)
        return left

    def _drop_words(self, scope: _Scope, mine: list[_Reference]) -> list[_Reference]:
        """Blank the assignments of strings that only left-out words read."""
        assigned = Counter(name for name, _, _ in scope.words)
        pending = {name for name, count in assigned.items() if scope.bound[name] == count}
        pending -= scope.declared
        while pending:
            dead = pending - {reference.name for reference in mine}
            if not dead:
                break
            pending -= dead
            for name, start, end in scope.words:
                if name in dead:
                    self.out[start:end] = [""] * (end - start)
                    mine = [item for item in mine if not start <= item.place < end]
                    self.uses = [use for use in self.uses if not start <= use[0] < end]
        return mine

    def _put(self, reference: _Reference, found: Found) -> None:
        self.out[reference.place] = found.text
        if found.target is not None and found.text.split(".")[0] not in SHOWN:
            self.uses.append((reference.place, found.target))

    def _inside(self, kind: str, fill: Callable[[_Scope], None]) -> None:
        scope = _Scope(kind, len(self.waiting))
        self.scopes.append(scope)
        fill(scope)
        self.scopes.pop()
        self.waiting += self._settle(scope)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.scopes[-1].bound[node.name] += 1
        self.out += [type(node).__name__, node.name]
        self._value(node.decorator_list)
        if words_an_error(node):
            self.visit(node.returns)  # type: ignore[arg-type]
            return
        self._defaults(node.args)
        if not all(self._ignores_annotations(item) for item in node.decorator_list):
            for argument in _arguments(node.args):
                self._value(argument.annotation)
            self._value(node.returns)

        def fill(scope: _Scope) -> None:
            self._parameters(scope, node.args)
            self._body(node.body)

        self._inside("function", fill)

    def _ignores_annotations(self, decorator: ast.expr) -> bool:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        base, attributes = _chain(called)
        name = attributes[-1] if attributes else getattr(base, "id", "")
        return name in IGNORE_ANNOTATIONS

    def _defaults(self, arguments: ast.arguments) -> None:
        self._value(arguments.defaults)
        self._value(arguments.kw_defaults)

    def _parameters(self, scope: _Scope, arguments: ast.arguments) -> None:
        for group in (arguments.posonlyargs, arguments.args, arguments.kwonlyargs):
            self.out.append(",".join(item.arg for item in group))
        for item in (arguments.vararg, arguments.kwarg):
            self.out.append(f"*{item.arg if item else ''}")
        scope.bound.update(item.arg for item in _arguments(arguments))

    def _body(self, statements: list[ast.stmt]) -> None:
        self.out.append("[")
        for statement in statements:
            self.visit(statement)
        self.out.append("]")

    def _class(self, node: ast.ClassDef) -> None:
        self.scopes[-1].bound[node.name] += 1
        self.out += ["ClassDef", node.name]
        for part in (node.decorator_list, node.bases, node.keywords):
            self._value(part)
        self._inside("class", lambda scope: self._body(node.body))

    def _lambda(self, node: ast.Lambda) -> None:
        self.out.append("Lambda")
        self._defaults(node.args)

        def fill(scope: _Scope) -> None:
            self._parameters(scope, node.args)
            self.visit(node.body)

        self._inside("lambda", fill)

    def _comprehension(self, node: ast.AST) -> None:
        self._inside("comprehension", lambda scope: self._generic(node))

    # Statements

    def _assign(self, node: ast.Assign | ast.AugAssign) -> None:
        scope, start = self.scopes[-1], len(self.out)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        name = targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else None
        if name is not None and scope.kind == "function" and isinstance(node, ast.Assign):
            calls = self._part_calls(node.value)
            if calls:
                scope.bound[name] += 1
                self._value(node.value.test if isinstance(node.value, ast.IfExp) else None)
                scope.parts.append((name, len(self.out), calls))
                self.out += ["Assign", name, "part"]
                for call in calls:
                    self.visit(call.args[0])
                return
        self._generic(node)
        if name is None:
            return
        if scope.kind == "function" and is_words(node.value):
            scope.words.append((name, start, len(self.out)))

    def _annotated(self, node: ast.AnnAssign) -> None:
        if self.scopes[-1].kind == "class":
            self._generic(node)
        elif node.value is not None:
            self._assign(ast.Assign(targets=[node.target], value=node.value))
        elif isinstance(node.target, ast.Name):
            self.scopes[-1].bound[node.target.id] += 1

    def _expression(self, node: ast.Expr) -> None:
        if not _is_bare(node) and not self._speaks(node.value):
            self._generic(node)

    def _speaks(self, node: ast.expr) -> bool:
        """Whether an expression only says something on the terminal or in a log."""
        if not isinstance(node, ast.Call):
            return False
        called = self._called(node)
        if called == "print":
            files = [ast.unparse(item.value) for item in node.keywords if item.arg == "file"]
            return not files or files[0] in ("sys.stderr", "sys.stdout")
        base, _, method = called.rpartition(".")
        logger = base == "logging" or base.startswith("logging.getLogger")
        return called == "warnings.warn" or (
            logger and method in ("debug", "info", "warning", "error", "exception", "critical")
        )

    def _match(self, node: ast.Match) -> None:
        self.out.append("Match")
        self.visit(node.subject)
        self.out.append("[")
        asks = asks_for_kind(node.subject)
        for case in node.cases:
            start = len(self.out)
            self.visit(case)
            if asks and (words := literals(case.pattern)):
                self.arms.append((start, len(self.out), words))
        self.out.append("]")

    def _raise(self, node: ast.Raise) -> None:
        self.out.append("Raise")
        if isinstance(node.exc, ast.Call):
            self._call(node.exc, words=True)
        else:
            self._value(node.exc)
        self._value(node.cause)

    # Calls

    def _called(self, node: ast.Call) -> str:
        """Name of what is called, free of places; empty where it is no plain name."""
        base, attributes = _chain(node.func)
        if isinstance(base, ast.Call) and len(attributes) == 1 and self._is_part(base):
            return f":{attributes[0]}"
        if not isinstance(base, ast.Name):
            return ""
        for scope in reversed(self.scopes):
            if base.id in scope.imports:
                return self.lookup(scope.imports[base.id], attributes).text
            if base.id in scope.bound and scope.kind != "class":
                return ""
        return self.resolve(base.id, attributes).text

    def _call(self, node: ast.Call, words: bool = False) -> None:
        if self._is_part(node):
            self._part(node, ())
            return
        called = self._called(node)
        if called == "importlib.import_module" and node.args:
            match node.args[0]:
                case ast.Constant(value=str(module)) if is_own(module):
                    self.uses.append((len(self.out), Target(module, EVERYTHING)))
                    self.out.append("import_module")
                    return
        self.out.append("Call")
        self.visit(node.func)
        if called in MESSAGE_ONLY:
            return
        words = words or _is_error(called)
        left_out = (*DESCRIPTIONS.get(called, ()), *LABELS.get(called, ()))
        if node.keywords and called.endswith((".add_argument", ".add_parser")):
            left_out = ("help", "description")
        arguments = node.args[1:] if called in SHOWN else node.args
        for argument in arguments:
            if not (words and is_words(argument)):
                self.visit(argument)
        # The order of keywords is that of evaluation, so it stays.
        for keyword in node.keywords:
            if keyword.arg not in left_out and not (words and is_words(keyword.value)):
                self.out.append(f"{keyword.arg}=")
                self.visit(keyword.value)

    def _is_part(self, node: ast.Call) -> bool:
        if len(node.args) != 2 or self._called(node) != ":part":
            return False
        if not isinstance(node.args[1], ast.Constant):
            raise ValueError(f"line {node.lineno}: part(task, name) needs the name as a string")
        return True

    def _part_calls(self, node: ast.expr) -> list[ast.Call]:
        """The calls of `part` that an expression chooses from; none if it has others."""
        if isinstance(node, ast.IfExp):
            either = self._part_calls(node.body), self._part_calls(node.orelse)
            return [*either[0], *either[1]] if all(either) else []
        return [node] if isinstance(node, ast.Call) and self._is_part(node) else []

    def _part(self, node: ast.Call, names: tuple[str, ...]) -> None:
        self.uses.append((len(self.out), _part_of(node, names)))
        self.out.append("part")
        self.visit(node.args[0])

    def _settle_parts(self, place: int, calls: list[ast.Call], reads: list[_Reference]) -> None:
        """What is used of a module of the task that a local variable holds."""
        whole = any(not reference.attributes for reference in reads)
        names = sorted({reference.attributes[0] for reference in reads if reference.attributes})
        for call in calls:
            self.uses.append((place, _part_of(call, () if whole else tuple(names))))


def _part_of(call: ast.Call, names: tuple[str, ...]) -> Part:
    task, name = call.args
    literal = str(task.value) if isinstance(task, ast.Constant) else None
    return Part(name.value, names, literal)  # type: ignore[attr-defined]


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    ends = [item for item in (arguments.vararg, arguments.kwarg) if item is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *ends]


BUILTINS = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__", "__path__", "__class__"}
"""Names that need no definition."""
