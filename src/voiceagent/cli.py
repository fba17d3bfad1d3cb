"""The command ``voiceagent``: each verb imports its own room, so that none waits for what it does not use."""

import asyncio
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import SecretStr, ValidationError

from voiceagent import __version__
from voiceagent.pricing import Price
from voiceagent.settings import Settings

NO_OPTION = (tuple[str, ...], dict[str, Price])  # JSON is for the environment
GAP_PROFILES = ("peers", "mid", "seed", "seed-streaming", "openai26", "zero")  # of `bench.profiles`, not loaded for it
FAMILIES = ("plain", "pausing", "dictating", "backchannel", "tic and cough", "side speech", "barge-in", "echo")


class _Verbs(click.Group):
    """The verbs; where nothing can be written to standard output any more, one sentence and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb and write what is left of its output."""
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:  # the shell closed it
                setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - it lives as long as the process
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left is not tried again
            click.echo(f"voiceagent: cannot write: {error.strerror}", err=True)
            sys.exit(2)


@click.group(cls=_Verbs)
@click.version_option(__version__)
def main() -> None:
    """A voice agent server with an explicit state machine. With no key and no network a local twin answers."""


# ------------------------------------------------------------------------------------------ settings as options
def _plain(annotation: Any) -> Any:
    """The type inside ``X | None``."""
    if isinstance(annotation, UnionType) or get_origin(annotation) is UnionType:
        return next(argument for argument in get_args(annotation) if argument is not type(None))
    return annotation


def _option(name: str, field: Any) -> Callable[[Any], Any]:
    flag, kind = f"--{name.replace('_', '-')}", _plain(field.annotation)
    if kind is bool:
        return click.option(f"{flag}/--no-{name.replace('_', '-')}", name, default=None, help=field.description)
    types = {int: int, float: float, Path: click.Path(path_type=Path)}
    choice = click.Choice(get_args(kind)) if get_origin(kind) is Literal else types.get(kind, str)
    return click.option(flag, name, type=choice, default=None, help=field.description)


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command one option for each setting; what is not given comes from the environment."""
    for name, field in reversed(Settings.model_fields.items()):
        if field.annotation not in NO_OPTION:
            command = _option(name, field)(command)
    return command


def load_settings(options: dict[str, Any]) -> Settings:
    """Build the settings; a wrong one ends the command with a sentence for each, and exit code 2."""
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if _plain(Settings.model_fields[name].annotation) is SecretStr:
            given[name] = SecretStr(value)
    try:
        return Settings(**given)
    except ValidationError as error:
        for wrong in error.errors(include_input=False, include_url=False):
            where = ".".join(str(part) for part in wrong["loc"])
            message = wrong["msg"].removeprefix("Value error, ")
            click.echo(f"voiceagent: {where + ': ' if where else ''}{message}", err=True)
        sys.exit(2)


# ------------------------------------------------------------------------------------------ commands
@main.command()
@settings_options
def serve(**options: Any) -> None:
    """Serve the page and its sessions until stopped."""
    settings = load_settings(options)
    from voiceagent.server import run

    sys.exit(run(settings))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9000, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option("--api-key", default=None, help="The only key that is accepted; without it any is.")
@click.option("--script", type=click.Path(path_type=Path), default=None, help="JSON file: answer by a script.")
@click.option(
    "--log", type=click.Path(path_type=Path), default=None, help="At the end, write what the script did here."
)
@click.option("--faults", type=click.Path(path_type=Path), default=None, help="JSON file: what shall go wrong.")
@click.option(
    "--allow-fault-header/--no-allow-fault-header", "fault_header", default=True, show_default=True,
    help="Clients may say by the header x-voiceagent-faults what shall go wrong.",
)  # fmt: skip
@click.option(
    "--only", type=click.Choice(["stt", "llm", "tts"]), multiple=True,
    help="Serve only this: speech to text, language model or text to speech; may be given more than once.",
)  # fmt: skip
@click.option("--strict-models", is_flag=True, help="Refuse names of models that the service does not have.")
@click.option("--tls-cert", type=click.Path(path_type=Path), default=None, help="PEM file: speak TLS by it.")
@click.option("--tls-key", type=click.Path(path_type=Path), default=None, help="PEM file: the certificate's key.")
def twin(
    host: str, port: int, api_key: str | None, script: Path | None, log: Path | None, *, faults: Path | None,
    fault_header: bool, only: tuple[str, ...], strict_models: bool, tls_cert: Path | None, tls_key: Path | None,
) -> None:  # fmt: skip
    """Serve the local OpenAI alone, or one of its services."""
    from voiceagent.twin.faults import BadFaults
    from voiceagent.twin.serve import BadScript, serve

    try:
        asyncio.run(
            serve(
                host, port, api_key, script, log, faults=faults, fault_header=fault_header, only=only,
                strict_models=strict_models, tls_cert=tls_cert, tls_key=tls_key,
            )
        )  # fmt: skip
    except OSError as error:
        _sorry(f"cannot listen on {host}:{port}: {error.strerror}")
    except (BadFaults, BadScript, RuntimeError) as error:
        _sorry(str(error))


@main.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The server.")
@click.option("--token", default=None, envvar="VOICEAGENT_ACCESS_TOKEN", help="Its access token.")
@click.option("--text", "texts", multiple=True, help="Type this instead of speaking; may be given more than once.")
@click.option("--barge-in-ms", type=click.IntRange(0), default=None, help="Speak the next file so far into the reply.")
@click.option(
    "--mode",
    type=click.Choice(["cascade", "realtime"]),
    default=None,
    help="Three models or one; as the server if not given.",
)
@click.option("--timeout-s", default=30.0, show_default=True, help="Longest silence that is waited through.")
@click.option(
    "--save", type=click.Path(path_type=Path), default=None, help="Write what was heard of the replies (WAV)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the turns as JSON.")
def call(**options: Any) -> None:
    """Speak sound FILES to a running server, in real time, and print what came back."""
    from voiceagent.caller import run_call

    sys.exit(run_call(**options))


@main.command()
@click.argument("logs", nargs=-1, required=True)
@click.option("--session", "sessions", multiple=True, help="Only this session; may be given more than once.")
@click.option("-o", "--output", default="trace.json", show_default=True, help="File to write; `-` is standard output.")
def trace(logs: tuple[str, ...], sessions: tuple[str, ...], output: str) -> None:
    """Turn log files into a trace that Perfetto shows (`-` is standard input)."""
    from voiceagent.tracefile import run

    sys.exit(run(logs, sessions, output))


@main.command()
def diagram() -> None:
    """Print the state machine as a Mermaid diagram."""
    from voiceagent.states import diagram

    click.echo(diagram(), nl=False)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@settings_options
def doctor(*, as_json: bool, **options: Any) -> None:
    """Say what is installed, which back-ends answer, and what to fix."""
    from voiceagent.doctor import run

    sys.exit(run(load_settings(options), as_json=as_json))


@main.command()
@click.argument(
    "name",
    type=click.Choice(
        ["gap", "bargein", "load", "start", "clients", "records", "tracing", "stragglers", "latency", "all"]
    ),
    default="all",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--readme", is_flag=True, help="Write the table into README.md.")
@click.option(
    "--profile", type=click.Choice(GAP_PROFILES), default="peers", show_default=True, help="Scripted back-ends (gap)."
)
@click.option(
    "--endpoint-ms",
    type=click.IntRange(60, 10_000),
    default=None,
    help="Endpoint wait of the server under test (gap); the profile's own if not given.",
)
def bench(name: str, *, as_json: bool, readme: bool, profile: str, endpoint_ms: int | None) -> None:
    """Measure: response gap, barge-in, load and start by scripted back-ends; clients, the log, exports, stragglers."""
    from voiceagent.bench import run

    sys.exit(run(name, as_json=as_json, readme=readme, profile=profile, endpoint_ms=endpoint_ms))


@main.command()
@click.option("--seeds", default=100, show_default=True, type=click.IntRange(1), help="So many seeds.")
@click.option("--first-seed", default=1, show_default=True, type=click.IntRange(0), help="The first of them.")
@click.option("--seconds-per-session", default=30.0, show_default=True, help="Virtual seconds of a seed.")
@click.option("--jobs", default=0, show_default=True, help="Processes; 0: one for each core.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--transcript", is_flag=True, help="Print all that happens, in one process.")
def simulate(
    seeds: int, first_seed: int, seconds_per_session: float, jobs: int, *, as_json: bool, transcript: bool
) -> None:
    """Run drawn sessions on virtual time and check at every step what must hold."""
    from voiceagent.simulation.command import run

    sys.exit(run(first_seed, seeds, seconds_per_session, jobs=jobs, as_json=as_json, transcript=transcript))


@main.command()
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1), help="Seeds with which each is played.")
@click.option("--family", type=click.Choice(FAMILIES), default=None, help="Only this family.")
@click.option("--dialog", default=None, help="Only this dialog.")
@click.option(
    "--ears", type=click.Choice(["both", "drawn", "real"]), default="both", show_default=True, help="Whose ears."
)
@click.option("--jobs", default=0, show_default=True, help="Processes; 0: one for each core.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--csv", type=click.Path(path_type=Path), default=None, help="Write one row an event here.")
@click.option("--readme", is_flag=True, help="Write the table into README.md.")
@click.option("--transcript", is_flag=True, help="Print all that happens, in one process.")
@click.option("--sweep", is_flag=True, help="Print how often the agent cuts in, by the wait and by the dial.")
@click.option("--endpoint-ms", type=click.IntRange(60, 10_000), default=None, help="The wait, if not as shipped.")
@click.option("--patience", type=click.FloatRange(0, 1), default=None, help="The dial, if not as shipped.")
def dialogs(**options: Any) -> None:
    """Play scripted dialogs on virtual time and score the agent's turn-taking."""
    from voiceagent.dialogs.command import Wish, run

    sys.exit(run(Wish(**options)))


@main.command()
@click.argument("logs", nargs=-1, required=True)
@click.option(
    "--by", type=click.Choice(["model", "path", "outcome", "hour", "mode", "origin"]), default=None,
    help="Also one row for each of these.",
)  # fmt: skip
@click.option("--slowest", type=click.IntRange(0, 100), default=5, show_default=True, help="Show so many waterfalls.")
@click.option(
    "--what-if", multiple=True, metavar="CHANGES",
    help="Reckon with other lengths: endpoint=300, llm_ttft=-200, tts_ttfb=x0.5, speculate=off; several with commas.",
)  # fmt: skip
@click.option("--against", type=click.Path(path_type=Path), default=None, help="Compare with this older log.")
@click.option(
    "--fail-above-ms", type=click.FloatRange(0), default=None, help="Exit with 1 if slower by more than so much."
)
@click.option("--follow", is_flag=True, help="Go on with what is written to the log, through rotations, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--html", type=click.Path(path_type=Path), default=None, help="Write them as one page here.")
def latency(**options: Any) -> None:
    """Say from LOGS (files, gzipped or not, or - for standard input) where the time goes, in which turns, and why."""
    from voiceagent.latency.command import Wish, run

    sys.exit(run(Wish(**options)))


@main.command()
@click.argument("logs", nargs=-1, required=True)
@click.option("--session", default=None, help="Only this one.")
@click.option("--quiet", is_flag=True, help="No transcript.")
def replay(logs: tuple[str, ...], *, session: str | None, quiet: bool) -> None:
    """Put the triggers of LOGS to the state machine again; exit with 1 at the first line where it differs."""
    from voiceagent.replay import run

    sys.exit(run(logs, session=session, quiet=quiet))


def _sorry(sentence: str) -> None:
    click.echo(f"voiceagent: {sentence}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
