"""python -m benchmarks.help [--rounds N]: what `copier-elevenlabs --help` costs over an empty Typer app's.

Each round runs all of them once, in a turning order; a figure is the median over rounds of the ratio within a round.
*Plain* is the stricter rival: Typer as it comes draws its help with Rich, which alone takes longer than we do.
"""

import argparse
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
EMPTY = """
import typer
app = typer.Typer({options})

@app.command()
def main() -> None:
    pass

app()
"""
PLAIN = "rich_markup_mode=None, pretty_exceptions_enable=False"


def seconds(argv: list[str]) -> float:
    """Of CPU, user's and system's: one thread does it all, and the machine is shared."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *argv, "--help"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with TemporaryDirectory() as folder:
        cast = {"empty Typer app, plain": [str(Path(folder) / "plain.py")], "empty Typer app": [f"{folder}/empty.py"]}
        Path(folder, "plain.py").write_text(EMPTY.format(options=PLAIN))
        Path(folder, "empty.py").write_text(EMPTY.format(options=""))
        cast |= {
            f"copier-elevenlabs {command}".strip(): ["-m", "generator", *command.split()] for command in ("", "new")
        }
        times = turn_by_turn(cast, rounds)
    show(times, rounds)


def turn_by_turn(cast: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in cast}
    for argv in cast.values():
        seconds(argv)  # once, for the byte code and the disk's cache
    for turn in range(rounds):
        names = list(cast)[turn % len(cast) :] + list(cast)[: turn % len(cast)]
        for name in names:
            times[name].append(seconds(cast[name]))
    return times


def show(times: dict[str, list[float]], rounds: int) -> None:
    plain = times["empty Typer app, plain"]
    print(f"--help, CPU, median of {rounds} rounds; the ratio's quarters beside it")
    for name, row in times.items():
        ratios = [mine / theirs for mine, theirs in zip(row, plain, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"  {name:24} {statistics.median(row) * 1000:6.0f} ms   {middle:5.2f} x   {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
