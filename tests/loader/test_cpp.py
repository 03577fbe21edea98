"""The C++ core keeps its promises without Python: tests/cpp/, compiled here and run."""

from pathlib import Path

import pytest

from cpp_build import CORE, TESTS, Build, host_compilers, run

COMPILERS = host_compilers()
NAMES = [source.stem for source in TESTS]

pytestmark = pytest.mark.skipif(not COMPILERS, reason="there is no C++ compiler")


@pytest.fixture(scope="module", params=COMPILERS, ids=lambda path: Path(path).name)
def programs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("cpp")
    return Build(
        request.param, ("-O1",), folder, core_flags=("-O3",)
    ).programs()  # the core as shipped


@pytest.mark.parametrize("name", NAMES)
def test_the_core_keeps_its_promises(programs: dict[str, Path], name: str) -> None:
    done = run(programs[name])
    assert done.returncode == 0, done.stdout
    passed, failed = done.stdout.splitlines()[-1].split(", ")
    assert int(passed.removesuffix(" passed")) > 0
    assert failed == "0 failed"


def parts_of_the_core() -> set[str]:
    """The sources with a header of their own; kernels_NAME.cpp is behind the header of kernels."""
    own = {path.stem for path in CORE if path.with_suffix(".hpp").is_file()}
    return {part for part in own if part.partition("_")[0] not in own - {part}}


def test_every_part_of_the_core_has_its_tests() -> None:
    parts = parts_of_the_core()
    assert {"kernels", "loader"} < parts
    included = "".join(source.read_text() for source in TESTS)
    assert [part for part in sorted(parts) if f'#include "{part}.hpp"' not in included] == []


def test_a_failed_check_fails_its_program_and_says_where(tmp_path: Path) -> None:
    source = tmp_path / "wrong.cpp"
    source.write_text(
        '#include <stdexcept>\n#include "check.hpp"\n'
        "using Error = std::logic_error;\n"
        "TEST(a_sum) { CHECK_EQ(1 + 1, 3); }\n"
        'TEST(an_error) { CHECK_THROWS_WITH(Error, "no", throw Error("o")); }\n'
        'TEST(no_error) { CHECK_THROWS_WITH(Error, "no", 1); }\n'
        "TEST(right) { CHECK(true); }\n"
    )
    include = Path(__file__).parents[1] / "cpp"
    build = Build(COMPILERS[0], (f"-I{include}",), tmp_path)
    done = run(build.linked([build.compiled(source)]))
    assert done.returncode == 1
    assert done.stdout == (
        f"FAILED a_sum\n  {source}:4: 1 + 1 == 3: 2 is not 3\n"
        f"FAILED an_error\n  {source}:5: the error's text: o is not no\n"
        f"FAILED no_error\n  {source}:6: nothing was thrown, wanted: no\n"
        "1 passed, 3 failed\n"
    )
