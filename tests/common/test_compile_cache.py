"""The folder of compiled programs, where it can be had and where it cannot."""

from types import SimpleNamespace

import pytest

from data_gen.common import compile_cache
from data_gen.common.compile_cache import cache_folder, use_compilation_cache


def test_a_usable_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    assert cache_folder() == tmp_path / "new" / "wave-surrogate"
    assert cache_folder().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("fault", ["a file in its place", "others may write"])
def test_a_temporary_folder_takes_over_with_one_warning(fault, tmp_path, monkeypatch):
    if fault == "a file in its place":
        (tmp_path / "wave-surrogate").write_text("")
    else:
        (tmp_path / "wave-surrogate").mkdir()
        (tmp_path / "wave-surrogate").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    used = {}
    # The tests' own JAX has a cache already.
    fresh = SimpleNamespace(config=SimpleNamespace(values={}, update=used.__setitem__))
    monkeypatch.setattr(compile_cache, "jax", fresh)
    with pytest.warns(UserWarning, match="lost when this process ends") as caught:
        folder = cache_folder()
        use_compilation_cache()
    assert len(caught) == 1 and folder != tmp_path / "wave-surrogate"
    assert folder.is_dir() and compile_cache.only_ours(folder) and folder.stat().st_mode & 0o777 == 0o700
    assert used["jax_compilation_cache_dir"].startswith(str(folder))
