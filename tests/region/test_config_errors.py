"""Everything that is refused, each with its place, the value and the mend; and that one run tells all."""

from __future__ import annotations

from pathlib import Path

import pytest

from evenkeel.model.errors import InputError
from evenkeel.region.config import load
from evenkeel.region.config.report import PROBLEMS_MAX
from tests.region.cases import DATA, FILES, Case, base_of, cases, report_on
from tests.region.files import SMALL, only_problem, problems


def test_a_file_full_of_mistakes_is_reported_in_one_go() -> None:
    with pytest.raises(InputError) as caught:
        load(DATA / "bad.toml")
    assert str(caught.value).replace(f"{DATA}/", "") + "\n" == (DATA / "bad.txt").read_text(encoding="utf-8")


EVERY_CASE = [(file, case) for file in FILES for case in cases(file)]


@pytest.mark.parametrize("case", [case for _, case in EVERY_CASE], ids=[f"{f}: {case.title}" for f, case in EVERY_CASE])
def test_a_mistake_is_reported_as_the_case_says(tmp_path: Path, case: Case) -> None:
    report = report_on(case.text, tmp_path)
    assert report == case.report
    assert report != "good"
    assert report.count("mend: ") * 2 == len(report.splitlines()), "every problem is two lines: where and what, mend"


@pytest.mark.parametrize("file", FILES)
def test_the_file_that_the_mistakes_are_made_in_is_good(tmp_path: Path, file: str) -> None:
    assert report_on(base_of(file), tmp_path) == "good"


def test_a_bad_account_is_reported_by_line_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "accounts.txt").write_text("good\n# a comment\nnot good\n")
    template = '[[endpoint-template]]\nname = "{account}.demo.example"\naccounts = { file = "accounts.txt" }\n'
    template += 'groups = ["edge"]\n'
    assert only_problem(tmp_path, SMALL + template).where == "accounts.txt:3"


def test_a_template_outside_every_zone_is_not_reported_ten_thousand_times(tmp_path: Path) -> None:
    template = '[[endpoint-template]]\nname = "{account}.example"\naccounts = { count = 10_000 }\ngroups = ["edge"]\n'
    found = problems(tmp_path, SMALL + template)
    assert len(found) == 11
    assert "9990 more of its names are at fault" in found[-1].what


def test_a_circle_through_an_account_s_endpoint_is_found(tmp_path: Path) -> None:
    text = (
        SMALL
        + """
[[endpoint-template]]
name = "{account}.cell.demo.example"
accounts = { count = 100 }
groups = ["edge"]

[plan-store]
listen = "77.cell.demo.example:5310"
"""
    )
    assert "which is 77.cell.demo.example." in only_problem(tmp_path, text).what


def test_what_hangs_on_a_table_at_fault_is_not_reported_as_well(tmp_path: Path) -> None:
    text = SMALL.replace("count = 2", "count = 0").replace(
        'groups = ["edge"]', 'groups = ["edge"]\nload-balancers = ["edge-a-1"]\nmembers-min = 2'
    )
    assert "0 is out of range" in only_problem(tmp_path, text).what


def test_a_syntax_error_has_line_and_column(tmp_path: Path) -> None:
    problem = only_problem(tmp_path, '[region]\nname = "demo"\nazs = [a]\n')
    assert problem.where == "region.toml:3:8"
    assert problem.what.startswith("is not TOML: Invalid value")


def test_a_file_that_ends_too_early_is_reported_at_its_end(tmp_path: Path) -> None:
    problem = only_problem(tmp_path, '[region]\nname = "demo')
    assert problem.where.startswith("region.toml:2")


def test_a_key_given_twice_is_a_syntax_error(tmp_path: Path) -> None:
    assert only_problem(tmp_path, "[region]\n[region]\n").what.startswith("is not TOML: Cannot declare")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "region.toml"
    path.write_bytes(b'[region]\nname = "\xff"\n')
    with pytest.raises(InputError, match="is not UTF-8: octet 0xff in line 2"):
        load(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load(tmp_path / "gone.toml")
    with pytest.raises(InputError, match="Is a directory"):
        load(tmp_path)


def test_a_file_of_more_than_16_megabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "region.toml"
    with path.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    with pytest.raises(InputError, match="larger than 16 MB"):
        load(path)


def test_a_file_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    assert "nests deeper" in only_problem(tmp_path, "x = " + "[" * 100_000).what


def test_an_empty_file_says_what_a_region_needs(tmp_path: Path) -> None:
    whats = [problem.what for problem in problems(tmp_path, "")]
    assert whats == [
        "the table `[region]` is missing",
        "there is no `[[zone]]`",
        "there is no `[[endpoint]]`",
    ]


def test_a_report_is_bounded_and_says_how_much_it_leaves_out(tmp_path: Path) -> None:
    endpoints = "".join(f'[[endpoint]]\nname = "e{n}.demo.example"\ngroups = ["no"]\n' for n in range(PROBLEMS_MAX + 5))
    found = problems(tmp_path, SMALL + endpoints)
    assert len(found) == PROBLEMS_MAX + 1
    assert found[-1].what == "and 5 problems more"
