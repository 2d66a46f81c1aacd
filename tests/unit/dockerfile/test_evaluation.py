"""The evaluation of a Dockerfile: what callers get besides the USER, and what a known base image changes."""

from __future__ import annotations

import pytest

from webhook.dockerfile import Base, Evaluation, Malformed, evaluate
from webhook.image.config import Platform


def evaluated(text: str, **options: object) -> Evaluation:
    """The evaluation of a text that builds."""
    found = evaluate(text, **options)  # type: ignore[arg-type]
    assert isinstance(found, Evaluation), found
    return found


def test_the_place_of_the_user_is_its_instruction() -> None:
    """Line and column count from 1; the last one decides, in whichever stage of the chain it stands."""
    found = evaluated("FROM a AS b\n\n  USER 1\n USER 2\nFROM b\nCMD x")
    assert (found.user, found.line, found.column) == ("2", 4, 2)


def test_without_a_user_the_place_is_the_final_from() -> None:
    """There is where one would write it."""
    found = evaluated("FROM a AS b\n FROM b")
    assert (found.user, found.user_step, found.line, found.column) == (None, None, 2, 2)


def test_a_known_base_answers_what_it_alone_could_tell() -> None:
    """USER, ENV and WORKDIR of its config; the name is the one that `base` gives."""
    text = "ARG TAG=8.0\nFROM aspnet:${TAG}\nWORKDIR app\nUSER $APP_UID"
    blind = evaluated(text)
    assert (blind.user, blind.base, blind.working_dir) == (None, "aspnet:8.0", None)
    known = {"aspnet:8.0": Base(env=("APP_UID=1654",), working_dir="/srv")}
    found = evaluated(text, bases=known)
    assert (found.user, found.working_dir) == ("1654", "/srv/app")
    assert evaluated("FROM a", bases={"a": Base(user="web")}).user == "web"
    assert evaluated("FROM b", bases={"a": Base(user="web")}).user is None


def test_a_variable_without_a_known_name_may_be_any() -> None:
    """`ENV $X=6` could have set what is asked for."""
    assert evaluated("FROM a\nENV A=5\nENV $X=6\nUSER $A").user is None
    assert evaluated("FROM a\nENV A=5\nENV $X=6\nENV A=7\nUSER $A").user == "7"


def test_the_triggers_of_a_known_base_run_first() -> None:
    """Before the stage's own instructions, and only directly on that base."""
    base = {"a": Base(onbuild=("ARG WHO=5", "USER $WHO"))}
    assert evaluated("FROM a", bases=base).user == "5"
    assert evaluated("FROM a", bases=base, build_args={"WHO": "6"}).user == "6"
    assert evaluated("FROM a\nUSER 7", bases=base).user == "7"
    assert evaluated("FROM a AS b\nUSER 8\nFROM b", bases=base).user == "8"
    broken = evaluate("FROM a", bases={"a": Base(onbuild=("USR 5",))})
    assert isinstance(broken, Malformed)
    assert "ONBUILD" in broken.reason


def test_triggers_of_images_that_files_are_taken_from_are_read_and_never_run() -> None:
    """What they name is built as well; one that copies from its own image ends here, which BuildKit does not."""
    text = "FROM scratch AS one\nUSER ${x:?no}\nFROM scratch\nCOPY --from=b /a /b\nRUN --mount=from=b,target=/b true"

    def said(*onbuild: str) -> str | None:
        found = evaluate(text, bases={"b": Base(onbuild=onbuild)})
        return found.reason if isinstance(found, Malformed) else found.user

    assert said() == said("USER 5", "COPY --from=b a b") == ""
    assert (
        said("USR 5")
        == "an ONBUILD trigger cannot run: unknown instruction 'USR'; is a continuation mark missing on the line above?"
    )
    assert (
        said("COPY --from=one a b")
        == "x is unset, and the file demands it ('no'); give it a value, as with --build-arg"
    )


def test_the_platform_sets_its_variables() -> None:
    """BuildKit's predefined ones, in FROM and behind ARG."""
    text = "FROM base-$TARGETARCH$TARGETVARIANT\nARG TARGETPLATFORM\nUSER ${TARGETPLATFORM##*/}"
    found = evaluated(text, platform=Platform("linux", "arm", "v7"))
    assert (found.base, found.user) == ("base-armv7", "v7")


def test_steps_know_who_and_where_they_run() -> None:
    """What rules stand on."""
    found = evaluated("FROM scratch\nWORKDIR /a\nRUN one\nUSER app\nWORKDIR b\nRUN two && \\\n  three")
    runs = [step for step in found.steps if step.keyword == "RUN"]
    assert [(step.user, step.working_dir, step.as_root) for step in runs] == [("", "/a", True), ("app", "/a/b", False)]
    assert [(command.name, command.line) for command in runs[1].commands] == [("two", 6), ("three", 7)]


def test_only_stages_that_the_target_needs_run() -> None:
    """`steps` are those of the target itself, `all_steps` those of what it copies from too."""
    found = evaluated("FROM a AS x\nRUN one\nFROM a AS y\nRUN two\nFROM a\nCOPY --from=x /q /q")
    assert [step.keyword for step in found.steps] == ["COPY"]
    assert [step.keyword for step in found.all_steps] == ["RUN", "COPY"]
    assert [stage.title for stage in found.stages] == ["x", "y", "stage 2"]


SCRIPTS = {
    "a b; c && d || e | f & g": ["a b", "c", "d", "e", "f", "g"],
    "(a; b) && { c; }": ["a", "b", "c"],
    "if a; then b; else c; fi": ["a", "b", "c"],
    "while a; do b; done": ["a", "b"],
    "A=1 B=2 cmd x": ["cmd x"],
    "sudo -E apt-get x": ["apt-get x"],
    "exec env -i cmd": ["cmd"],
    "echo 'a;b' \"c && d\" e\\;f": ["echo a;b c && d e;f"],
    "echo a # ; b": ["echo a"],
    "echo a#b": ["echo a#b"],
    "echo $(a; b) `c; d` ${E:-f;g}": ["echo $(a; b) `c; d` ${E:-f;g}"],
    "N=5; echo $N \"${N}\" '$N'": ["echo 5 5 $N"],
    "export N=6 && echo $N": ["export N=6", "echo 6"],
    'echo $LIST "$LIST"': ["echo one two one two"],
    "cmd > out 2>&1 < in >> more": ["cmd"],
    "cmd 2>/dev/null x": ["cmd x"],
    "for x in 1 2; do a $x; done": ["a $x"],
    'echo "unclosed': ["echo unclosed"],
    "echo $(unclosed": ["echo $(unclosed"],
    "/usr/bin/apt-get x": ["/usr/bin/apt-get x"],
    "A=only": [],
    'echo "a"#b "c\\$d\\e" $ f': ["echo a#b c$d\\e $ f"],
}


@pytest.mark.parametrize(("script", "commands"), SCRIPTS.items())
def test_a_script_is_read_as_commands(script: str, commands: list[str]) -> None:
    """Their words without quotes, known variables put in, and nothing run."""
    found = evaluated(f'FROM a\nENV LIST="one two"\nRUN {script}')
    assert [" ".join(command.words) for command in found.steps[-1].commands] == commands


def test_redirections_are_kept() -> None:
    """They say what a command writes."""
    found = evaluated("FROM a\nRUN cmd > /a 2>&1 >> b < c\nRUN >/d\nRUN tee /e <<EOF\nx\nEOF")
    assert [command.writes for step in found.steps for command in step.commands] == [("/a", "b"), ("/d",), ()]


SECRETS = (
    "FROM a\nENV A=s3cret B",
    'FROM a\nENV A="s3cret',
    "FROM a\nENV A=s3cret${",
    "FROM a\nENV A=s3cret${X^y}",
    "FROM a\nARG =s3cret",
    "FROM scratch\nARG A='s3cret\nUSER $A",
    'FROM a\nCMD ["s3cret", 1]',
    "FROM scratch\nARG P\nUSER ${P?}",
    "FROM scratch\nENV A=${B#s3cret\\x}",
)


@pytest.mark.parametrize("text", SECRETS)
def test_a_fault_repeats_no_value(text: str) -> None:
    """ENV and ARG hold secrets, whether they should or not."""
    found = evaluate(text, build_args={"OTHER": "s3cret"})
    assert isinstance(found, Malformed)
    assert "s3cret" not in found.reason


def test_a_fault_has_its_line_column_and_next_step() -> None:
    """The place of the instruction, not of the file."""
    found = evaluate("FROM a\n\n  COPY --owner=b c d")
    assert isinstance(found, Malformed)
    assert (found.line, found.column) == (3, 3)
    assert "--chown" in found.reason
