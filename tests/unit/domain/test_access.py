"""Access rights of API keys: scopes, and the providers that a key is bound to."""

from dataclasses import replace
from uuid import UUID

import pytest

from receiver.domain.access import Caller, Scope

CALLER = Caller(UUID(int=1), "shop", "shop-key", frozenset({Scope.READ}), None, 60)


@pytest.mark.parametrize("scope", Scope)
def test_caller_has_only_the_scopes_of_its_key(scope: Scope) -> None:
    assert CALLER.has_scope(scope) is (scope is Scope.READ)


@pytest.mark.parametrize("scope", Scope)
def test_admin_scope_includes_all_others(scope: Scope) -> None:
    assert replace(CALLER, scopes=frozenset({Scope.ADMIN})).has_scope(scope)


def test_caller_without_read_scope_sees_its_own_client_only() -> None:
    submitter = replace(CALLER, scopes=frozenset({Scope.SUBMIT}), providers=["acme"])
    assert submitter.own_client == "shop"
    assert submitter.can_see("acme", "shop")
    assert not submitter.can_see("acme", "other")
    assert not submitter.can_see("acme", None)
    assert not submitter.can_see("acme-2", "shop")


@pytest.mark.parametrize("scopes", [{Scope.READ}, {Scope.SUBMIT, Scope.READ}, {Scope.ADMIN}])
def test_caller_with_read_scope_sees_every_client(scopes: set[Scope]) -> None:
    reader = replace(CALLER, scopes=frozenset(scopes))
    assert reader.own_client is None
    assert reader.can_see("acme", "other")
    assert reader.can_see("acme", None)


def test_unbound_caller_accesses_every_provider() -> None:
    assert CALLER.can_access("acme")


def test_bound_caller_accesses_its_providers_only() -> None:
    bound = replace(CALLER, providers=["acme"])
    assert bound.can_access("acme")
    assert not bound.can_access("acme-2")
    assert not replace(CALLER, providers=[]).can_access("acme")
