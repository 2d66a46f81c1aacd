"""The programs of a cluster: their logs."""

from pathlib import Path

from deploy.local.processes import LOG_BYTES, Processes

SAY = ("sh", "-c", "echo again; exec sleep 600")


def test_a_log_that_has_grown_begins_anew_and_one_former_log_stays(tmp_path: Path) -> None:
    """A small one is added to."""
    processes = Processes(tmp_path / "notes", tmp_path / "logs")
    log, former = processes.log("one"), processes.log("one.former")
    log.parent.mkdir()
    for before, after in (
        ("once\n", "once\nagain\n"),
        ("a" * LOG_BYTES + "\n", "again\n"),
        ("b" * LOG_BYTES + "\n", "again\n"),
    ):
        log.write_text(before)
        processes.start("one", SAY)
        try:
            processes.wait("one", lambda: log.read_text().endswith("again\n"))
        finally:
            processes.stop("one")
        assert log.read_text() == after
    assert former.read_text() == "b" * LOG_BYTES + "\n"
    assert {each.name for each in log.parent.iterdir()} == {"one.log", "one.former.log"}
