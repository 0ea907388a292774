"""A message of another library in one line."""

from lpstudy.one_line import first_line, last_line, one_line

MESSAGE = ValueError("\n no such  table\n\t[SQL: x]\r\n")


def test_blanks_and_line_ends_become_one_space() -> None:
    assert one_line(MESSAGE) == "no such table [SQL: x]"
    assert one_line(MESSAGE, 7) == "no such"


def test_the_first_and_last_lines_are_those_with_text() -> None:
    assert first_line(MESSAGE) == "no such  table"
    assert last_line(MESSAGE) == "[SQL: x]"
    assert last_line(MESSAGE, 4) == "[SQL"


def test_an_error_without_a_message_gives_its_type_and_an_empty_text_stays_empty() -> None:
    for line in (one_line, first_line, last_line):
        assert line(TimeoutError(" ")) == "TimeoutError"
        assert line("\n") == ""
