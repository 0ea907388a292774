"""A study's report, as files for a code host and as a table for the terminal."""

from lpstudy.rendering.console_table import console_table
from lpstudy.rendering.report_files import Report, live_page, waiting_page, write_report

__all__ = ["Report", "console_table", "live_page", "waiting_page", "write_report"]
