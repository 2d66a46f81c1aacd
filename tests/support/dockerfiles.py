"""Dockerfiles made by chance, as hypothesis strategies: half of them plain, half of them meant to be hard to read.

Strategies are made once: hypothesis validates each new one, which takes far longer than an example.
"""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

NAMES = ("APP", "UID", "HOME_DIR", "PATH", "TARGETARCH", "_x", "y1")
_PLAIN = ("app", "1000", "0", "root", "1001:1001", "10001", "web-1", "a.b", "abcabc", "/srv/app", "")
_HARD = (
    "a b",
    "*",
    "?",
    "é",
    "}",
    "a'b",
    'q"r',
    "#h",
    "<<EOF",
    "-",
    "$",
    "${",
    "\\",
    " ",
    "`",
    "\ufeff",
    "\u00a0",
    "[ab]",
)
_PATTERNS = ("a*", "*b", "a?c", "*", "?", "b*c", "\\*", "a\\/b", "[ab]", ".", "bc", "", "ab*")
_MODIFIERS = (":-", ":+", "-", "+", "#", "##", "%", "%%")


@cache
def words(*, hard: bool) -> st.SearchStrategy[str]:
    """One argument: text, variables, quotes and escapes, inside each other."""
    texts = st.sampled_from(_PLAIN + _HARD if hard else _PLAIN)
    names = st.sampled_from(NAMES)

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        patterns = st.sampled_from(_PATTERNS)
        modifiers = st.sampled_from((*_MODIFIERS, "?", ":?") if hard else _MODIFIERS)
        return st.one_of(
            names.map("${}".format),
            names.map("${{{}}}".format),
            st.builds("${{{}{}{}}}".format, names, st.sampled_from(_MODIFIERS[:4]), inner),
            st.builds("${{{}{}{}}}".format, names, modifiers, patterns),
            st.builds("${{{}{}{}/{}}}".format, names, st.sampled_from(("/", "//")), patterns, texts),
            inner.map('"{}"'.format),
            texts.map("'{}'".format),
            st.sampled_from("$\"'\\ na`").map("\\{}".format),
            st.builds("{}{}".format, inner, inner),
        )

    return st.recursive(texts, larger, max_leaves=5)


@cache
def _arguments(*, hard: bool) -> st.SearchStrategy[list[str]]:
    names = (*NAMES, "BASE") if hard else NAMES
    return st.lists(st.builds("ARG {}={}".format, st.sampled_from(names), words(hard=hard)), max_size=2)


@cache
def _instructions(*, hard: bool) -> st.SearchStrategy[list[str]]:
    word, name = words(hard=hard), st.sampled_from(NAMES)
    value = st.one_of(word, st.sampled_from(("1000", "abcabc", "a/b/c", "app", "")))
    gap = st.sampled_from((" ", "\t", "  ", " \\\n ", " \\  \n# USER nobody\n   ")) if hard else st.just(" ")
    plain = [
        st.builds("USER{}{}".format, gap, word),
        st.builds("ENV{}{}={}".format, gap, name, value),
        st.builds("ENV {} {}".format, name, value),
        st.builds("ENV {}={} {}={}".format, name, value, name, value),
        st.builds("ARG {}".format, name),
        st.builds("ARG{}{}={}".format, gap, name, value),
        st.builds("ARG {}={} {}".format, name, value, name),
        st.builds("WORKDIR{}{}".format, gap, st.one_of(word, st.sampled_from(("/a/../b", "c", "./d/", "/")))),
        st.sampled_from(_HARMLESS),
    ]
    if hard:
        plain.append(st.builds("ENV {}={}".format, word, word))
        plain.append(st.sampled_from(_HEREDOCS + _FAULTY))
        plain.append(
            st.builds(
                "{} {}".format, st.sampled_from(("user", "User", "env", "arg", "label", "volume", "maintainer")), word
            )
        )
        plain.append(st.builds("COPY --chown={} a {}".format, word, word))
    each = st.tuples(st.sampled_from(("", "", "", "ONBUILD ")), st.one_of(plain)).map("".join)
    return st.lists(each, max_size=6)


_HARMLESS = (
    "RUN useradd -u 1000 app \\\n  && USER nobody \\\n\n# USER x\n  && done",
    'CMD ["a", "b"]',
    "EXPOSE 80 8080/tcp",
    "# USER nobody",
    "RUN --mount=type=cache,target=/x true",
    "HEALTHCHECK --interval=30s CMD curl -f http://localhost/",
    'SHELL ["/bin/bash", "-c"]',
    "COPY --from=busybox /a /b",
    'LABEL a=b c="d e"',
)
_HEREDOCS = (
    "RUN <<EOF\nUSER bad\nEOF",
    "RUN cat <<-E1 <<'E 2'\n\tUSER x\n\tE1\n# c\nE 2",
    "RUN echo don't <<EOF",
    "COPY <<EOF /x\n$APP ${UID}\nUSER q\nEOF",
    "COPY <<EOF /x\n${bad\nEOF",
    'RUN ["a", "<<EOF"]',
    'COPY <<"EOF" <<X /d/\n${bad\nEOF\nX',
    "RUN echo ${APP:-a b}<<EOF\nEOF",
    "ADD <<\\E /x\nE",
    'RUN echo "<<EOF"',
    "RUN a <<< b",
    "COPY a <<EOF",
    "RUN <<EOF",
)
_FAULTY = (
    "USER",
    "ENV",
    "ENV A",
    "ARG",
    "ARG =x",
    "FOO bar",
    "COPY a",
    "COPY --bad a b",
    "COPY --chown a b",
    "COPY --link=maybe a b",
    "COPY --chmod=755 --chmod=755 a b",
    "COPY --from=$APP a b",
    "COPY --from=7 a b",
    "COPY --from=Bad/Name a b",
    "RUN --network=some true",
    "CMD [1]",
    "SHELL x",
    "EXPOSE",
    'VOLUME [""]',
    "HEALTHCHECK x",
    "HEALTHCHECK --interval=x CMD y",
    "HEALTHCHECK --retries=-1 CMD y",
    "ONBUILD FROM x",
    "ONBUILD ONBUILD USER x",
    "ONBUILD ENV A",
    "ONBUILD FOO",
)


@st.composite
def dockerfiles(draw: st.DrawFn, *, hard: bool) -> tuple[str, str | None, dict[str, str]]:
    """A text, a target and build arguments."""
    lines = []
    if hard and draw(st.integers(0, 5)) == 0:
        lines.append(
            draw(st.sampled_from(("# escape=`", "#escape = \\", "# syntax=x\n# escape=`", "# hello\n# escape=`")))
        )
    lines.extend(draw(_arguments(hard=hard)))
    if not hard:
        lines.append("ARG BASE=debian:12")
    stages: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        image = draw(
            st.sampled_from(["alpine", "python:3.12-slim", "scratch", "${BASE:-debian}", "$BASE", *stages * 3])
        )
        name = draw(st.sampled_from(("one", "two", "Three", "base")))
        keyword = draw(st.sampled_from(("FROM", "FROM --platform=$BUILDPLATFORM", "from")))
        lines.append(f"{keyword} {image}" + draw(st.sampled_from(("", f" AS {name}", f" as {name}"))))
        if " " in lines[-1].removeprefix(keyword).strip():
            stages.append(name.lower())
        lines.extend(draw(_instructions(hard=hard)))
        if draw(st.integers(0, 3)) == 0:
            sources = ("nginx", "0", *stages) if hard else ("nginx", *stages[:-1])
            lines.append(draw(st.sampled_from([f"COPY --from={source} /a /b" for source in sources])))
    target = draw(st.sampled_from([None, None, None, *stages, *(["nowhere"] if hard else [])]))
    build_args = draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(("1", "v", "", "a b")), max_size=2))
    return draw(st.sampled_from(("\n", "\n", "\r\n"))).join(lines), target, build_args
