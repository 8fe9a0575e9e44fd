import pytest

from netwright.report.library import cache_folder, library


@pytest.fixture
def bundles(monkeypatch, tmp_path):
    """Count how often the library is bundled, in an empty cache folder."""
    import vl_convert

    calls = []

    def bundle(snippet):
        calls.append(snippet)
        return f"/* library */\n{snippet}"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(vl_convert, "javascript_bundle", bundle)
    library.cache_clear()
    yield calls
    library.cache_clear()


def again():
    library.cache_clear()  # as another process would
    return library()


def test_the_library_is_bundled_once(bundles):
    first = library()
    assert again() == first == "/* library */\nwindow.vegaEmbed = vegaEmbed;"
    assert len(bundles) == 1


def test_an_altered_copy_is_not_used(bundles):
    first = library()
    (file,) = cache_folder().iterdir()
    file.write_text(file.read_text().replace("library", "malware"))
    assert again() == first
    assert len(bundles) == 2
    file.write_text("")
    assert again() == first


def test_a_folder_that_cannot_be_written_is_no_error(bundles, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert library() == again()
    assert len(bundles) == 2
