"""A shift change that does not end: a large organisation at work, live, and whether the exporter
keeps up with the interval of polling.

    cargo build --release && python3 -m pip install -r tests/requirements.txt
    python3 benches/compare/shift_change.py [--agents 100000] [--tempo 3] [--minutes 7]

The whole program is measured against the simulated organisation over HTTP: snapshots, a question for
each agent that has changed, events through the journal into the store, and windows as they close. The
tempo says how often agents change; how often that was is told. The budget is raised to the highest
that there is, 100,000 requests a minute: at 300 the questions alone would take hours.
"""

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

from compare import Exporter, cpu_seconds, get, peak_bytes, port, simulate, wait_for

ROOT = Path(__file__).resolve().parent.parent.parent
BUDGET = 100_000
INTERVAL = 15


class Watched(Exporter):
    """The exporter, and what its page tells of how far it is."""

    def look(self):
        page = self.page()
        accepted = r'genesyscloud_snapshots_total\{result="accepted",.*\}'
        snapshots = self.value(accepted, page)
        return {
            "at": time.time(),
            "snapshots": snapshots,
            "others": self.value(r"genesyscloud_snapshots_total\{.*\}", page) - snapshots,
            "events": self.value(r'genesyscloud_events_total\{result="stored"\}', page),
            "waiting": self.value("genesyscloud_event_queue_depth_events", page),
            "windows": self.value(r'genesyscloud_windows_total\{result="written"\}', page),
            "cpu": cpu_seconds(self.process.pid),
        }


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=100_000)
    parser.add_argument("--tempo", type=float, default=3.0)
    parser.add_argument("--minutes", type=float, default=7.0, help="watched")
    parser.add_argument("--binary", default=ROOT / "target/release/genesys-cloud-exporter")
    options = parser.parse_args()
    listen = port()
    base = f"http://127.0.0.1:{listen}"
    simulator = simulate(options.binary, listen, options.agents, "status", options.tempo)
    try:
        await wait_for("the simulator", lambda: get(f"{base}/simulator/statistics"))
        with tempfile.TemporaryDirectory() as folder:
            watched = Watched(options.binary, base, "status", INTERVAL, folder)
            await watched.begin()
            await wait_for("the first snapshot", lambda: watched.cycles() >= 1)
            await watched.grant(BUDGET)
            await wait_for("the first joins", watched.settled, every=5.0)
            looks = [await asyncio.to_thread(watched.look)]
            while looks[-1]["at"] - looks[0]["at"] < options.minutes * 60:
                await asyncio.sleep(INTERVAL)
                looks.append(await asyncio.to_thread(watched.look))
                print(" ".join(f"{name} {value:.0f}" for name, value in looks[-1].items()), flush=True)
            tell(options, looks, peak_bytes(watched.process.pid))
            await watched.end()
    finally:
        simulator.terminate()
        simulator.wait()


def tell(options, looks, peak):
    first, last = looks[0], looks[-1]
    took = last["at"] - first["at"]
    gained = {name: last[name] - first[name] for name in first}
    a_minute = gained["events"] / took * 60
    waited = max(look["waiting"] for look in looks)
    print(
        f"{options.agents} agents, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}:\n"
        f"  {a_minute:.0f} events a minute, {a_minute / options.agents:.2f} of each agent\n"
        f"  {gained['snapshots']:.0f} snapshots accepted in {took:.0f} s, one every"
        f" {took / max(1, gained['snapshots']):.1f} s; {gained['others']:.0f} others\n"
        f"  {gained['windows']:.0f} windows written\n"
        f"  {waited:.0f} records waited in the journal at most, {last['waiting']:.0f} at the end\n"
        f"  {gained['cpu'] / took:.2f} of a core; peak memory {peak / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    asyncio.run(main())
