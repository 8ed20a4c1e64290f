"""The command's root: its subcommands, and the one place where errors end."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from tidlq.cli import compile as compile_
from tidlq.cli import (
    demo,
    evaluate,
    export,
    lint,
    proto_convert,
    proto_diff,
    proto_export,
    proto_from_model,
    proto_import,
    proto_merge,
    proto_set,
    proto_show,
    proto_validate,
    run,
    sensitivity,
    trace,
)
from tidlq.cli import inspect as inspect_
from tidlq.cli.failures import (
    DEBUG_VARIABLE,
    INTERRUPTED,
    Failure,
    UserInterruptError,
    describe_failure,
)
from tidlq.cli.terminal import print_marked
from tidlq.errors import nearest_names
from tidlq.version import __version__


class _Group(TyperGroup):
    """A group whose errors become one line and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - errors always end here
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            result = super().main(
                arguments, prog_name or "tidlq", complete_var, False, windows_expand_args, **extra
            )
        except BrokenPipeError:
            # Whoever read the output has seen enough.
            _close_stdout()
            sys.exit(1)
        except (Exception, KeyboardInterrupt) as error:
            _end(error, is_json="--json" in arguments)
        sys.exit(result if isinstance(result, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        # The parser would turn it into an exit without a message.
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise UserInterruptError from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            known = self.list_commands(ctx)
            hint = nearest_names(name, known) or f" Commands are: {', '.join(known)}."
            ctx.fail(f"unknown command {name!r}.{hint}")
        return super().resolve_command(ctx, args)


def _end(error: BaseException, *, is_json: bool) -> NoReturn:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    failure = describe_failure(error)
    if failure.exit_code == INTERRUPTED:
        # A second Ctrl-C must not cut the message short.
        with contextlib.suppress(KeyboardInterrupt):
            _report(failure, is_json=is_json)
    else:
        _report(failure, is_json=is_json)
    sys.exit(failure.exit_code)


def _report(failure: Failure, *, is_json: bool) -> None:
    if is_json:
        with contextlib.suppress(OSError):
            sys.stdout.write(json.dumps({"error": failure.document()}, indent=1) + "\n")
            sys.stdout.flush()
            return
    with contextlib.suppress(OSError):
        print_marked("error", failure.message, "red")


def _close_stdout() -> None:
    """Keeps the interpreter from flushing into the closed pipe as it ends."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())


def _print_version(asked: bool) -> None:
    if asked:
        print(f"tidlq {__version__}")
        raise typer.Exit


def _show_help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        help_text = context.get_help()
        if help_text:
            print(help_text)
        raise typer.Exit


app = typer.Typer(
    cls=_Group,
    name="tidlq",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(
    epilog="Exit codes: 0 success, 1 the input is at fault, 2 usage, 3 a quality gate failed, "
    "70 a fault of tidlq itself, 130 interrupted."
)
def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Turn ONNX and TFLite networks into fixed-point networks that run exactly."""
    _show_help_without_command(context)


proto = typer.Typer(cls=_Group, invoke_without_command=True)


@proto.callback()
def _proto(context: typer.Context) -> None:
    """Make, show, check, compare, change, merge and convert quantization protos."""
    _show_help_without_command(context)


def _register(group: typer.Typer, name: str, command: Callable[..., None]) -> None:
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    group.command(name, help="\n\n".join(" ".join(part.split()) for part in paragraphs))(command)


_register(app, "compile", compile_.compile_model)
_register(app, "run", run.run_network)
_register(app, "evaluate", evaluate.evaluate_network)
_register(app, "inspect", inspect_.inspect_network)
_register(app, "trace", trace.trace_network)
_register(app, "lint", lint.lint_model)
_register(app, "export", export.export_network)
_register(app, "sensitivity", sensitivity.rank_layers)
_register(app, "demo", demo.run_demo)
_register(proto, "show", proto_show.show_proto)
_register(proto, "validate", proto_validate.validate_proto)
_register(proto, "diff", proto_diff.diff_protos)
_register(proto, "merge", proto_merge.merge_protos)
_register(proto, "set", proto_set.set_in_proto)
_register(proto, "convert", proto_convert.convert_proto)
_register(proto, "from-model", proto_from_model.proto_from_model)
_register(proto, "import", proto_import.import_ranges)
_register(proto, "export", proto_export.export_proto)
app.add_typer(proto, name="proto")


def _open_closed_streams() -> None:
    """A closed stream (`>&-`) is None in Python, and its number would go to the next file."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for the whole process


def _interrupt_when_asked_to_end() -> None:
    """SIGTERM and SIGHUP end a command as Ctrl-C does, so that no scratch file stays."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def main() -> NoReturn:
    """Runs the command with the process's arguments."""
    if not os.environ.get(DEBUG_VARIABLE):
        # Remarks of libraries about their own future are not for the user of a command.
        warnings.simplefilter("ignore")
    _open_closed_streams()
    _interrupt_when_asked_to_end()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app(prog_name="tidlq")
    sys.exit(0)
