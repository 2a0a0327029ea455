"""The names that a module binds: its functions, parameters, variables and attributes."""

import ast
from collections.abc import Sequence

Scope = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class BindingCollector(ast.NodeVisitor):
    """Collects functions, parameters, variables and attributes with the line that binds them first.

    The scope of a name is its function, of an attribute of `self` its class.
    """

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], int] = {}
        self._scopes: list[Scope] = []

    def _add(self, name: str | None, node: ast.expr | ast.stmt | ast.arg | ast.excepthandler | ast.pattern) -> None:
        self._add_in(self._scopes, name, node.lineno)

    def _add_in(self, scopes: Sequence[Scope], name: str | None, line: int) -> None:
        if name is not None:
            self.lines.setdefault((".".join(scope.name for scope in scopes), name), line)

    def _visit_scope(self, node: Scope) -> None:
        self._scopes.append(node)
        self.generic_visit(node)
        self._scopes.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_scope(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._add(node.name, node)
        self._visit_scope(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._add(node.name, node)
        self._visit_scope(node)

    def visit_arg(self, node: ast.arg) -> None:
        self._add(node.arg, node)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self._add(node.id, node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Store):
            depth = max((i for i, scope in enumerate(self._scopes, 1) if isinstance(scope, ast.ClassDef)), default=0)
            self._add_in(self._scopes[:depth], node.attr, node.lineno)
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._add(node.name, node)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self._add(node.name, node)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self._add(node.name, node)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self._add(node.rest, node)
        self.generic_visit(node)
