"""`receiver completion`: click's shell scripts, which complete commands, options, and names that the service knows."""

from collections.abc import Callable
from threading import Thread
from typing import Any

import click
from click.shell_completion import get_completion_class

_TIMEOUT_S = 2.0
_PAGE_SIZE = 500


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash:  echo 'eval "$(receiver completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(receiver completion zsh)"' >> ~/.zshrc
    fish:  receiver completion fish > ~/.config/fish/completions/receiver.fish
    """  # noqa: D301  # click's marker for lines that it must not rewrap
    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"Completion is not supported for {shell}.")
    click.echo(script(ctx.find_root().command, {}, "receiver", "_RECEIVER_COMPLETE").source())


def complete_providers(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the service's providers that begin like this."""
    return _select((provider["name"] for provider in _fetch_providers(ctx)), incomplete)


def complete_accounts(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the accounts of the command's provider that begin like this."""
    providers = [provider for provider in _fetch_providers(ctx) if _is_meant(ctx, provider)]
    return _select((provider["account"] for provider in providers), incomplete)


def complete_operations(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the operations that begin like this: of the command's provider, or of all if it has none yet."""
    providers = [provider for provider in _fetch_providers(ctx) if _is_meant(ctx, provider)]
    return _select((name for provider in providers for name in provider["operations"]), incomplete)


def complete_profiles(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the profiles that begin like this."""
    # Imported late: only completion of profiles needs it here.
    from receiver.cli.profiles import load_profiles  # noqa: PLC0415

    return _select(_try(load_profiles, {}), incomplete)


def _select(names: Any, incomplete: str) -> list[str]:
    return sorted({name for name in names if name and name.startswith(incomplete)})


def _is_meant(ctx: click.Context, provider: Any) -> bool:
    name = ctx.params.get("provider") or ctx.params.get("name")
    return name in {None, provider["name"]}


def _fetch_providers(ctx: click.Context) -> list[Any]:
    """Return the service's providers; none if it does not respond in time."""
    # Imported late: a command that is not being completed needs nothing of it here.
    from receiver.cli.api import connect_service  # noqa: PLC0415

    results: list[Any] = []

    def fetch() -> None:
        with ctx.scope(cleanup=False):  # which has the profile of --profile
            service = connect_service(timeout_s=_TIMEOUT_S, max_pause_s=0.0)
            results.extend(service.get("providers", query={"limit": _PAGE_SIZE})["items"])

    # In a thread, because nothing limits how long a name server takes.
    thread = Thread(target=_try, args=(fetch, None), daemon=True)
    thread.start()
    thread.join(_TIMEOUT_S)
    return list(results)


def _try(function: Callable[[], Any], default: Any) -> Any:
    """Return what a function returns, or the default if it fails: the prompt is no place for errors."""
    try:
        return function()
    except Exception:  # whatever it is, there is nothing to complete
        return default
