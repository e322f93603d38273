import ast
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(file for folder in ("anomalybench", "methods", "tests") for file in (ROOT / folder).rglob("*.py"))
METHODS = sorted((ROOT / "methods").rglob("*.py"))
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def named(file):
    return file.relative_to(ROOT).as_posix()


def parsed(file):
    return ast.parse(file.read_text(encoding="utf-8"))


def imported(file):
    """Full names of the modules and the members that a file imports, wherever in it."""
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{named(file)}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_there_is_something_to_check():
    assert {"anomalybench/cli/run.py", "methods/cam.py", "tests/test_architecture.py"} <= set(map(named, FILES))


def test_files_import_only_from_lower_floors():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " kept, 0 broken." in done.stdout


@pytest.mark.parametrize("file", METHODS, ids=named)
def test_methods_import_from_lower_floors_and_from_shared_siblings(file):
    """As import-linter checks in the wheel (.ci/types): in a checkout they lie outside the package."""
    for name in imported(file):
        floors = name.split(".")
        if floors[0] != "anomalybench":
            continue
        assert floors[1] in ("core", "evaluate", "vision", "datasets", "methods"), name
        if floors[1] == "methods":
            assert floors[2].startswith("_"), f"{name}: methods share only files with a leading underscore"


def module(file):
    """A file's full name as it is installed, where methods lie inside the package."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if parts[0] == "anomalybench" else ("anomalybench", *parts)).removesuffix(".__init__")


def drawn(files):
    """Which modules each module imports, by name: inside functions and for the type checker alone, too."""
    modules = {module(file): file for file in files}
    named_or_above = {name: [name, name.rpartition(".")[0]] for file in files for name in imported(file)}
    homes = {name: next((one for one in both if one in modules), None) for name, both in named_or_above.items()}
    return {one: {homes[name] for name in imported(file)} - {None} for one, file in modules.items()}


def test_no_module_imports_itself_by_way_of_others():
    graph = drawn([file for file in FILES if not named(file).startswith("tests/")])
    assert "anomalybench.core.method" in graph["anomalybench.methods.efficientad"]
    TopologicalSorter(graph).prepare()  # CycleError names the modules of a circle


def declared(lines):
    """Names of the packages in a list of requirements."""
    return {re.match(r"[\w-]+", line)[0].lower() for line in lines}


def packages_in(files):
    """Packages that the files import, wherever in them, with one of the files."""
    known, found = packages_distributions(), {}
    for file in files:
        for top in {name.partition(".")[0] for name in imported(file)} - {"anomalybench", *sys.stdlib_module_names}:
            found |= {name.lower().replace("_", "-"): named(file) for name in known.get(top, ())}
    return found


def test_what_is_imported_is_declared():
    """Also what comes along with something else today, as markupsafe with jinja2; and nothing else is declared."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core, extras = declared(project["dependencies"]), project["optional-dependencies"]
    users = declared(line for name, lines in extras.items() if name != "dev" for line in lines)
    ours = [file for file in FILES if not named(file).startswith("tests/")]
    assert set(packages_in(ours)) - core - users == set()
    assert set(packages_in(FILES)) - core - users - declared(extras["dev"]) == set()
    assert core <= set(packages_in(ours))


def test_the_core_is_imported_without_any_extra():
    """What an extra brings is imported inside the functions that need it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        top
        for top, names in packages_distributions().items()
        if not declared(names) & declared(project["dependencies"])
    }
    for file in (file for file in FILES if not named(file).startswith("tests/")):
        for node in parsed(file).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                used = {name.partition(".")[0] for name in names} & extras - {"anomalybench", *sys.stdlib_module_names}
                assert not used, f"{named(file)} needs {used}"


def length(function):
    """Lines of a function, its docstring apart: what a parameter means may take the lines it needs."""
    first = function.body[0]
    docstring = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if docstring else 0)


@pytest.mark.parametrize("file", FILES, ids=named)
def test_files_and_functions_are_short(file):
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= 300, f"{lines} lines"
    functions = [node for node in ast.walk(parsed(file)) if isinstance(node, FUNCTION)]
    long = {f.name: n for f in functions if (n := length(f)) > 40}
    assert not long


def test_core_and_cli_load_no_torch():
    core = (ROOT / "anomalybench" / "core").rglob("*.py")
    modules = ["anomalybench", "anomalybench.cli", *sorted(map(module, core))]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list", "methods"]], ids=" ".join)
def test_help_and_lists_load_no_torch(arguments):
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"  # importing it is an error
        f"sys.argv = ['anomalybench', *{arguments!r}]\n"
        "from anomalybench.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
