"""The tests are in the folders that tests/__init__.py lists, and each module stands alone."""

import re

import tests

TESTS = tests.ROOT / "tests"
MODULES = sorted(TESTS.rglob("*.py"))


def test_the_list_of_folders_is_complete():
    listed = re.findall(r"^(\w+)  ", tests.__doc__, re.MULTILINE)
    assert sorted(listed) == sorted({path.parent.name for path in MODULES} - {"tests"})


def test_every_folder_is_a_package_so_that_its_modules_have_names_of_their_own():
    assert {path.parent for path in MODULES} == {
        path.parent for path in MODULES if path.name == "__init__.py"
    }


def test_no_test_module_imports_another():
    # In the text, as programs for child processes are strings.
    imports = re.compile(r"(?:from|import) [\w., ]*\b(?:test_\w+|conftest)\b")
    found = {path.relative_to(TESTS): imports.findall(path.read_text()) for path in MODULES}
    assert not {str(path): lines for path, lines in found.items() if lines}


def test_support_holds_no_tests():
    assert not list((TESTS / "support").glob("test_*"))
