"""Only the block of the Edge Function changes in supabase/config.toml."""

import tomllib

import pytest
import tomlkit
from click import ClickException
from threadline.project.config import read_project_id, with_function, without_function
from tomlkit.exceptions import KeyAlreadyPresent

from tests.support.own_project import CONFIG

FORMS = {
    "tables": CONFIG,
    "no functions": 'project_id = "a"\n',
    "comment at the end": 'project_id = "a"\n\n# Nothing follows.\n',
    "functions apart": "[functions.a]\nverify_jwt = true\n\n[db]\nport = 1\n\n# b\n[functions.b]\nenabled = true\n",
    "a table of functions": "[functions]\na.verify_jwt = true # a\n",
    "windows": CONFIG.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=list(FORMS))
def test_block_is_added_and_every_line_stays(text: str) -> None:
    edited = with_function(text)
    assert tomllib.loads(edited)["functions"]["messaging-ingest"] == {"verify_jwt": False}
    rest = iter(edited.splitlines(keepends=True))
    assert all(line in rest for line in text.splitlines(keepends=True))
    assert len(edited.splitlines()) - len(text.splitlines()) in {3, 4}
    assert with_function(edited) == edited
    assert edited.count("\r") == (edited.count("\n") if "\r" in text else 0)


@pytest.mark.parametrize("text", FORMS.values(), ids=list(FORMS))
def test_block_is_removed_and_the_file_is_as_before(text: str) -> None:
    assert without_function(with_function(text)) == text
    assert without_function(text) == text


def test_own_block_keeps_its_comments() -> None:
    text = "[functions.messaging-ingest]\n# mine\nenabled = true\nverify_jwt = true # why\n"
    assert with_function(text) == text.replace("true # why", "false # why")
    mixed = "[functions.messaging-ingest]\r\nverify_jwt = false\nenabled = true\n"
    assert with_function(mixed) == mixed


def test_unsafe_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClickException, match="has a form that cannot be edited safely"):
        with_function("functions = { checkout = { verify_jwt = true } }\n")
    dumps = tomlkit.dumps

    def refuse(_: object) -> str:
        raise KeyAlreadyPresent("more")

    for dump in (lambda document: dumps(document) + "[more]\n", refuse):
        monkeypatch.setattr(tomlkit, "dumps", dump)
        with pytest.raises(ClickException, match="has a form that cannot be edited safely"):
            with_function(CONFIG)


def test_project_without_an_id_has_an_empty_one() -> None:
    assert [read_project_id(text) for text in (CONFIG, "", "project_id = 5")] == ["shop", "", "5"]
