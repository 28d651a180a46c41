"""The architecture: which folder may import which, and that nobody takes what is another module's own."""

import ast
import functools
from pathlib import Path

import pytest

import fastpg

ROOT = Path(fastpg.__file__).parent
MODULES = {
    ".".join(("fastpg", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}
MODULES["fastpg._core"] = ROOT / "_core.pyi"
# What the modules of a folder import of the other folders. The rest of the package is below all of them.
FOLDERS = {"algorithms", "batches", "callbacks", "cli", "envs", "exports", "networks", "torch", "training"}
ABOVE = {
    "networks": FOLDERS - {"networks"},
    "envs": FOLDERS - {"envs"},
    "algorithms": FOLDERS - {"algorithms", "batches"},
    "callbacks": {"algorithms", "cli", "exports", "torch"},
    "training": {"callbacks", "cli", "exports", "torch"},
    "batches": {"algorithms", "callbacks", "cli", "exports", "torch", "training"},
    "exports": {"algorithms", "batches", "callbacks", "cli", "envs", "training"},
}


# Who looks an environment up by its id has to know environments: late, when it is called, and in one place.
# So does a policy know what exports it, and who loads a network that it may lie in the folder of a run.
LATE = {
    ("fastpg.networks.parametric", "fastpg.envs.gymnasium.opening"),
    ("fastpg.networks.policy", "fastpg.exports"),
    ("fastpg.networks.checkpoint", "fastpg.training.run_folder"),
}


@functools.cache
def imports(name, late=True):
    """Return (module, names in it) of the imports that a module makes of this package, types aside.

    Without `late`, only of those that are made when it is imported itself.
    """
    tree = ast.parse(MODULES[name].read_text())
    top = [node for node in tree.body if not ast.unparse(node).startswith("if TYPE_CHECKING:")]
    nodes = [node for statement in top for node in (ast.walk(statement) if late else [statement])]
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [(alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            for one in (alias.name for alias in node.names):
                module = f"{node.module}.{one}"
                found.append((module, ()) if module in MODULES else (node.module, (one,)))
    return [(module, names) for module, names in found if module.split(".")[0] == "fastpg" and module != name]


def folder(module):
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("name", MODULES)
def test_arrows_go_one_way(name):
    above = {module for module, _ in imports(name) if folder(module) in ABOVE.get(folder(name), ())}
    assert above == {module for importer, module in LATE if importer == name}
    assert not above.intersection(module for module, _ in imports(name, late=False))


def test_no_module_imports_itself_through_others():
    graph = {name: {module for module, _ in imports(name, late=False)} for name in MODULES}
    done = set()

    def visit(name, path):
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for module in sorted(graph.get(name, ())):
                if module != "fastpg":  # the package itself imports all of them
                    visit(module, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("name", MODULES)
def test_nobody_imports_what_is_another_modules_own(name):
    own = [(module, one) for module, names in imports(name) for one in names if one.startswith("_")]
    assert not own


def test_nothing_else_imports_torch_or_stable_baselines():
    for name in MODULES:
        if folder(name) not in ("torch", "sb3") and name != "fastpg.exports.torch_program":
            assert not [module for module, _ in imports(name) if folder(module) in ("torch", "sb3")], name
