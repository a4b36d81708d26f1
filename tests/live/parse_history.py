"""Reads a file of `simulate history` with the strict parser of prometheus_client.

Usage: parse_history.py FILE. Prints how many families and instants there are, and the last instant.

The parser takes every later sample of a histogram for a repetition of the first (it forgets what it
saw when the series changes, not when the instant does), so histograms are given to it an instant at
a time, and everything else as one file.
"""

import sys

try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
except ImportError as error:
    sys.exit(f"{error}: install the Python package prometheus_client")


def families(lines):
    """Lines of each family, its head included, by the word on its TYPE line."""
    found = []
    for line in lines:
        if line.startswith("# HELP "):
            found.append([])
        found[-1].append(line)
    kind = [next(line for line in family if line.startswith("# TYPE ")).split()[3] for family in found]
    return list(zip(kind, found))


def main(path):
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    if not text.endswith("\n# EOF\n"):
        sys.exit("it is cut off")
    found = families(text.removesuffix("# EOF\n").splitlines(keepends=True))
    plain = "".join(line for kind, family in found if kind != "histogram" for line in family)
    read = list(parse(plain + "# EOF\n"))
    instants = sorted({float(sample.timestamp) for family in read for sample in family.samples})
    histograms = [line for kind, family in found if kind == "histogram" for line in family]
    for instant in instants:
        ending = f" {int(instant)}\n"
        page = [line for line in histograms if line.startswith("#") or line.endswith(ending)]
        # A family without a sample at this instant is a head and nothing more, which it may be.
        read_then = list(parse("".join(page) + "# EOF\n"))
        if not any(family.samples for family in read_then):
            sys.exit(f"no histogram at {instant}")
    print(len(found), len(instants), instants[-1])


if __name__ == "__main__":
    main(*sys.argv[1:])
