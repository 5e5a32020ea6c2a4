"""The command tree, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from chestx.cli import (
    adapt,
    calibrate,
    convert,
    data,
    ensemble,
    evaluate,
    model,
    predict,
    report,
    train,
    withdraw,
)
from chestx.cli.console import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    configure_logging,
    discard_output,
    say_error,
)
from chestx.domain import CAVEAT, ChestxError, UsageError

app = typer.Typer(
    name="chestx",
    help=f"A second reader for chest radiographs. {CAVEAT}",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: boxes cost a third of the start-up time.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("predict")(predict.predict)
app.command("convert")(convert.convert)
app.command("report")(report.report)
app.command("withdraw")(withdraw.withdraw)
app.command("evaluate")(evaluate.evaluate)
app.command("calibrate")(calibrate.calibrate)
app.command("commission")(calibrate.commission)
app.command("adapt")(adapt.adapt)
model.app.command("join")(ensemble.join)
app.command("train")(train.train)
app.command("publish")(train.publish)
app.add_typer(model.app, name="model")
app.add_typer(data.app, name="data")


def _show_version(wanted: bool) -> bool:
    if wanted:
        from chestx import __version__

        typer.echo(f"chestx {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def describe(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """A second reader for chest radiographs."""
    configure_logging(as_json=False)


def run(arguments: list[str] | None = None) -> int:
    """Runs one command and gives its exit code; every expected error is one line."""
    try:
        code = app(arguments, prog_name="chestx", standalone_mode=False)
    except TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        say_error(message or "a command is missing; see chestx --help")
        return EXIT_USAGE
    except UsageError as error:
        say_error(str(error))
        return EXIT_USAGE
    except ChestxError as error:
        say_error(str(error))
        return EXIT_ERROR
    except BrokenPipeError:
        # The reader of a longer text went away (`chestx model show | head`): nothing is amiss.
        discard_output()
        return 0
    except OSError as error:
        say_error(f"the system says: {error.strerror or error}")
        return EXIT_ERROR
    except MemoryError:
        say_error("there is not enough memory")
        return EXIT_ERROR
    # An interrupt comes back as its code, which typer gives it.
    if code == EXIT_INTERRUPTED:
        say_error("interrupted")
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    """Entry point of the ``chestx`` program."""
    sys.exit(run())
