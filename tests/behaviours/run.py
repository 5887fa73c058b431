"""Shows one behaviour after another on a running server: Geminga, or Apache Pulsar to see that both do the same.

Every file beside this one is a chapter, every function in it whose name has no underscore in front is a behaviour, named after what
it shows. Behaviours share nothing, so several run at once.

usage: run.py --url pulsar://HOST:PORT --admin http://HOST:PORT [--at-once N] [--list] [PATTERN ...]

A PATTERN is a part of `chapter.behaviour`. Exit code 1 when one of them was not shown.
"""

import argparse
import concurrent.futures
import importlib
import inspect
import pathlib
import sys
import time
import traceback

import stage

NOT_CHAPTERS = {"run", "stage"}


def behaviours(patterns):
    """All that were asked for, in the order in which a reader meets them."""
    found = []
    for path in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        if path.stem in NOT_CHAPTERS:
            continue
        chapter = importlib.import_module(path.stem)
        for name, function in vars(chapter).items():
            here = inspect.isfunction(function) and function.__module__ == path.stem
            full = f"{path.stem}.{name}"
            if here and not name.startswith("_") and (not patterns or any(one in full for one in patterns)):
                found.append((full, function))
    return found


def show(function, url, admin):
    """How long it took, and what went wrong."""
    began = time.monotonic()
    trouble = None
    try:
        place = stage.Stage(url, admin)
        try:
            function(place)
        finally:
            place.end()
    except Exception:  # Of whatever kind: it is printed.
        trouble = traceback.format_exc()
    return time.monotonic() - began, trouble


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--admin", required=True)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--list", action="store_true", help="only say which there are")
    parser.add_argument("patterns", nargs="*", metavar="PATTERN")
    given = parser.parse_args()
    wanted = behaviours(given.patterns)
    if not wanted:
        sys.exit("no behaviour has such a name")
    if given.list:
        print("\n".join(name for name, _ in wanted))
        return
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(given.at_once) as pool:
        shown = [(name, pool.submit(show, function, given.url, given.admin)) for name, function in wanted]
        for name, outcome in shown:
            seconds, trouble = outcome.result()
            print(f"{'FAILED' if trouble else 'ok    '} {name} {seconds:.1f} s", flush=True)
            if trouble:
                failed += 1
                print(trouble, flush=True)
    print(f"{len(wanted) - failed} of {len(wanted)} behaviours shown")
    sys.exit(1 if failed else 0)


main()
