"""The public interface for provider kinds of other packages."""

from receiver import plugin


def test_plugin_exports_exist() -> None:
    assert sorted(plugin.__all__) == list(plugin.__all__)
    assert [name for name in plugin.__all__ if not hasattr(plugin, name)] == []
