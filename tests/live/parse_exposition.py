"""Reads a classic and an OpenMetrics page with the strict parsers of prometheus_client.

Usage: parse_exposition.py CLASSIC OPENMETRICS. Both are pages of one view. Exit code 0 if both
can be read whole and hold the same samples.
"""

import sys

try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
    from prometheus_client.parser import text_string_to_metric_families as classic
except ImportError as error:
    sys.exit(f"{error}: install the Python package prometheus_client")


def samples(families):
    """Samples by name and labels. A series that comes twice is an error."""
    found = {}
    for family in families:
        for sample in family.samples:
            labels = dict(sample.labels)
            # The bound of a bucket is a number: 5 and 5.0 are one.
            if "le" in labels:
                labels["le"] = float(labels["le"])
            series = (sample.name, tuple(sorted(labels.items())))
            if series in found:
                sys.exit(f"{series} comes twice")
            found[series] = sample.value
    return found


def main(classic_path, openmetrics_path):
    with open(classic_path, encoding="utf-8", newline="") as page:
        one = samples(classic(page.read()))
    with open(openmetrics_path, encoding="utf-8", newline="") as page:
        other = samples(openmetrics(page.read()))
    only = sorted(set(one) ^ set(other))
    if only:
        sys.exit(f"{len(only)} series are on one page only, the first: {only[0]}")
    # The view is one, but the exporter's own counts move with every request.
    agents = [series for series in one if series[0].startswith("genesyscloud_queue_")]
    differing = [series for series in agents if one[series] != other[series]]
    if differing or not agents:
        sys.exit(f"{len(differing)} of {len(agents)} values differ: {differing[:3]}")
    print(f"{len(one)} samples agree")


if __name__ == "__main__":
    main(*sys.argv[1:])
