"""A shift change, live: everybody in a large organisation changes state within a minute, and whether
the exporter keeps up with the interval of polling.

    cargo build --release && python3 -m pip install -r tests/requirements.txt
    python3 benches/compare/shift_change.py [--agents 100000] [--within 1m] [--minutes 8]
    python3 benches/compare/shift_change.py --within none --tempo 3 --minutes 3

The whole program is measured against the simulated organisation over HTTP: snapshots, a question for
each agent that has changed, events through the journal into the store, and windows as they close. The
second form watches a shift change that does not end: an organisation at so high a tempo that most
agents change every minute. The budget is raised to the highest that there is, 100,000 requests a
minute: at 300 the questions alone would take hours.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
import urllib.request
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
            "owed": json.loads(get(f"http://{self.address}/api/v1/status"))["join"]["pending"],
            "waiting": self.value("genesyscloud_event_queue_depth_events", page),
            "windows": self.value(r'genesyscloud_windows_total\{result="written"\}', page),
            "cpu": cpu_seconds(self.process.pid),
        }


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=100_000)
    parser.add_argument("--within", default="1m", help="everybody changes; none: nobody is told to")
    parser.add_argument("--tempo", type=float, default=0.02, help="of all that happens beside")
    parser.add_argument("--minutes", type=float, default=8.0, help="watched")
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
            if options.within != "none":
                await asyncio.to_thread(change_shift, base, options.within)
            while looks[-1]["at"] - looks[0]["at"] < options.minutes * 60:
                await asyncio.sleep(INTERVAL)
                looks.append(await asyncio.to_thread(watched.look))
                print(" ".join(f"{name} {value:.0f}" for name, value in looks[-1].items()), flush=True)
            tell(options, looks, peak_bytes(watched.process.pid))
            await watched.end()
    finally:
        simulator.terminate()
        simulator.wait()


def change_shift(base, within):
    body = json.dumps({"within": within}).encode()
    asked = urllib.request.Request(f"{base}/simulator/shift-change", body, method="POST")
    with urllib.request.urlopen(asked, timeout=60) as answer:
        print(f"shift change within {within}: {answer.read().decode()}", flush=True)


def tell(options, looks, peak):
    first, last = looks[0], looks[-1]
    took = last["at"] - first["at"]
    gained = {name: last[name] - first[name] for name in first}
    a_minute = gained["events"] / took * 60
    waited = max(look["waiting"] for look in looks)
    everybody = [look["at"] for look in looks if look["events"] >= first["events"] + options.agents]
    after = f"within {everybody[0] - first['at']:.0f} s" if everybody else "never"
    print(
        f"{options.agents} agents, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}:\n"
        f"  {gained['events']:.0f} events, {a_minute:.0f} a minute, {a_minute / options.agents:.2f} of each agent;"
        f" as many as agents stored {after}\n"
        f"  {max(look['owed'] for look in looks):.0f} questions owed at most, {last['owed']:.0f} at the end\n"
        f"  {gained['snapshots']:.0f} snapshots accepted in {took:.0f} s, one every"
        f" {took / max(1, gained['snapshots']):.1f} s; {gained['others']:.0f} others\n"
        f"  {gained['windows']:.0f} windows written\n"
        f"  {waited:.0f} records waited in the journal at most, {last['waiting']:.0f} at the end\n"
        f"  {gained['cpu'] / took:.2f} of a core; peak memory {peak / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    asyncio.run(main())
