"""Side by side: this exporter, the script that a user would write, and the floor.

All three ask the same simulated organisation, one after the other, through a proxy that counts
bytes. Measured is what each process itself takes: CPU time (/proc/PID/task/*/schedstat), peak
memory (VmHWM), bytes of answers, requests, and how long a cycle lasts. Prints the machine,
versions, medians with their spread, and the table for README.md. What was measured is kept in
measured.json beside this file, one entry a dialect, size and contender, so that a long run can be
made in parts; growth.svg is drawn of it.

    cargo build --release && python3 -m pip install -r tests/requirements.txt
    python3 benches/compare/compare.py [--sizes 1,100,1000,10000,100000] [--dialects status,platform]

The exporter does more than the others: it asks for the routing state of who has changed, keeps
events and windows in its database with synchronous=FULL, and makes every series of every queue.
"""

import argparse
import asyncio
import importlib.metadata as packages
import json
import math
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
MEASURED = HERE / "measured.json"
EXPORTER = "this exporter"
SCRIPT = "SDK script"
FLOOR = "GET and parse"
# Requests a minute: all of them may ask as often as the interval says.
BUDGET = 60_000
# A process that says nothing for so long is lost.
PATIENCE_SECONDS = 900


class Proxy:
    """Passes bytes on and counts those that come back."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.bytes = 0

    async def start(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def serve(self, reader, writer):
        there = await asyncio.open_connection("127.0.0.1", self.upstream)
        await asyncio.gather(
            self.copy(reader, there[1], False), self.copy(there[0], writer, True)
        )

    async def copy(self, reader, writer, counted):
        try:
            while data := await reader.read(1 << 18):
                if counted:
                    self.bytes += len(data)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


def cpu_seconds(pid):
    """On a core, all threads that live: in nanoseconds, where the kernel's ticks are 10 ms."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / 1e9


def peak_bytes(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def wait_for(what, condition, every=0.2):
    bound = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < bound:
        try:
            if result := await asyncio.to_thread(condition):
                return result
        except OSError:
            pass
        await asyncio.sleep(every)
    sys.exit(f"{what}: not within {PATIENCE_SECONDS} s")


class Contender:
    """A process that goes through cycles."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        self.lasted = []
        self.reading = None

    async def begin(self):
        self.reading = asyncio.create_task(asyncio.to_thread(self.read))

    def read(self):
        for line in self.process.stdout:
            if re.fullmatch(r"[0-9.]+\n", line):
                self.lasted.append(float(line))

    def cycles(self):
        return len(self.lasted)

    def seconds(self, first, last):
        return self.lasted[first:last]

    def settled(self):
        return self.cycles() >= 2

    async def go_on(self, begun):
        """Until a cycle has ended that began after `begun` were over; how many are over then."""
        return await wait_for("a cycle", lambda: (n := self.cycles()) > begun + 1 and n)

    async def end(self):
        self.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.process.wait)
        await self.reading


class Exporter(Contender):
    """The exporter tells its cycles and how long their phases took on its page."""

    def __init__(self, binary, base, dialect, interval, folder):
        self.address = f"127.0.0.1:{port()}"
        self.config = Path(folder) / "config.yml"
        self.text = (
            f"source: {{ dialect: {dialect}, client_id: demo, api_url: '{base}',"
            f" login_url: '{base}', notifications: 'off' }}\n"
            f"poll: {{ interval: {interval:g}s, timeout: {interval * 0.8:g}s }}\n"
            f"budget: {{ requests_per_minute: {BUDGET}, max_in_flight: 32 }}\n"
            f"store: {{ path: '{folder}/data' }}\n"
            f"web: {{ listen: ['{self.address}'] }}\n"
            "log: { level: error }\n"
        )
        self.config.write_text(self.text)
        environment = {**os.environ, "GENESYSCLOUD_CLIENT_SECRET": "demo"}
        super().__init__([binary, "run", "--config.file", self.config], env=environment)
        self.interval = interval

    def page(self):
        return get(f"http://{self.address}/metrics")

    def value(self, pattern, page=None):
        page = page or self.page()
        return sum(float(v) for v in re.findall(rf"^{pattern} (\S+)$", page, re.M))

    def cycles(self):
        return self.value(r'genesyscloud_snapshots_total\{result="accepted",reason=""\}')

    def phases(self):
        return self.value(r'genesyscloud_cycle_duration_seconds_sum\{phase="(?!join)\w+"\}')

    async def go_on(self, begun):
        # Looking costs it a scrape, so it is left alone for two cycles: one scrape a cycle, as by
        # Prometheus.
        await asyncio.sleep(2 * self.interval)
        return await wait_for("a cycle", lambda: (n := self.cycles()) > begun and n)

    async def grant(self, budget):
        """Another budget from now on, and some cycles to get used to it."""
        grant = f"requests_per_minute: {budget}"
        self.config.write_text(self.text.replace(f"requests_per_minute: {BUDGET}", grant))
        self.process.send_signal(signal.SIGHUP)
        left = "genesyscloud_api_budget_remaining_requests"
        await wait_for("the budget", lambda: self.value(left) <= budget)
        first = await asyncio.to_thread(self.cycles)
        await wait_for("some cycles", lambda: self.cycles() >= first + 3, every=2.0)

    def settled(self):
        # The first joins are over: what follows is the daily round.
        return self.cycles() >= 2 and self.value("genesyscloud_routing_join_coverage_ratio") > 0.99


async def measure(contender, statistics_url, proxy, cycles, then):
    """What one cycle takes, again and again."""
    await contender.begin()
    await wait_for("the start", contender.settled, every=2.0)
    if then and isinstance(contender, Exporter):
        await contender.grant(then)
    pid = contender.process.pid
    rounds = []
    for _ in range(cycles):
        begun = await asyncio.to_thread(contender.cycles)
        requests = json.loads(await asyncio.to_thread(get, statistics_url))["requests"]
        cpu, passed = cpu_seconds(pid), proxy.bytes
        phases = await asyncio.to_thread(contender.phases) if isinstance(contender, Exporter) else 0
        ended = await contender.go_on(begun)
        done = ended - begun
        if isinstance(contender, Exporter):
            lasted = (await asyncio.to_thread(contender.phases) - phases) / done
        else:
            lasted = statistics.mean(contender.seconds(int(begun), int(ended)))
        asked = json.loads(await asyncio.to_thread(get, statistics_url))["requests"] - requests
        rounds.append(
            {
                "cpu": (cpu_seconds(pid) - cpu) / done,
                "wall": lasted,
                "bytes": (proxy.bytes - passed) / done,
                "requests": asked / done,
            }
        )
    peak = peak_bytes(pid)
    await contender.end()
    return rounds, peak


def simulate(binary, listen, agents, dialect, tempo):
    queues = max(1, min(200, agents // 20))
    return subprocess.Popen(
        [binary, "simulate", "--listen", f"127.0.0.1:{listen}", "--agents", str(agents),
         "--queues", str(queues), "--dialect", dialect, "--requests-per-minute", "1000000",
         "--tempo", str(tempo), "--log.level", "error"],
        stdout=subprocess.DEVNULL,
    )


async def side_by_side(options, dialect, agents):
    listen = port()
    simulator = simulate(options.binary, listen, agents, dialect, options.tempo)
    statistics_url = f"http://127.0.0.1:{listen}/simulator/statistics"
    results = {}
    try:
        await wait_for("the simulator", lambda: get(statistics_url))
        proxy = Proxy(listen)
        base = await proxy.start()
        interval = str(options.interval)
        with tempfile.TemporaryDirectory() as folder:
            makers = {
                FLOOR: lambda: Contender([options.floor, base, dialect, interval]),
                EXPORTER: lambda: Exporter(
                    options.binary, base, dialect, options.interval, folder
                ),
                SCRIPT: lambda: Contender(
                    [sys.executable, HERE / "sdk_script.py", base, dialect, interval],
                    env={**os.environ, "HOME": folder},
                ),
            }
            for name, make in makers.items():
                if name not in options.who or (name == SCRIPT and agents > options.script_max):
                    continue
                results[name] = await measure(
                    make(), statistics_url, proxy, options.cycles, options.then_budget
                )
                print(f"  {name}: {told(*results[name])}", flush=True)
    finally:
        simulator.terminate()
        simulator.wait()
    return results


def median(rounds, what):
    return statistics.median(r[what] for r in rounds)


def spread(rounds, what):
    values = sorted(r[what] for r in rounds)
    return f"{values[0] * 1e3:.1f} to {values[-1] * 1e3:.1f}"


def told(rounds, peak):
    return (
        f"CPU {median(rounds, 'cpu') * 1e3:.1f} ms a cycle ({spread(rounds, 'cpu')}),"
        f" lasting {median(rounds, 'wall') * 1e3:.1f} ms ({spread(rounds, 'wall')}),"
        f" peak {peak / 1e6:.0f} MB, {median(rounds, 'bytes') / 1e6:.2f} MB"
        f" and {median(rounds, 'requests'):g} requests a cycle"
    )


def kept():
    """All that was measured so far: (dialect, agents) to name to (rounds, peak)."""
    try:
        told = json.loads(MEASURED.read_text())
    except FileNotFoundError:
        return {}
    return {
        (entry["dialect"], entry["agents"]): {
            name: (one["rounds"], one["peak"]) for name, one in entry["who"].items()
        }
        for entry in told
    }


def keep(all_results):
    entries = [
        {
            "dialect": dialect,
            "agents": agents,
            "who": {
                name: {"rounds": rounds, "peak": peak}
                for name, (rounds, peak) in results.items()
            },
        }
        for (dialect, agents), results in sorted(all_results.items())
    ]
    MEASURED.write_text(json.dumps(entries, indent=1) + "\n")


def table(all_results):
    lines = [
        "| dialect | agents | who | CPU a cycle | to this exporter | lasts | peak memory | bytes"
        " | requests |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (dialect, agents), results in sorted(all_results.items()):
        ours = median(results[EXPORTER][0], "cpu") if EXPORTER in results else None
        for name, (rounds, peak) in results.items():
            cpu = median(rounds, "cpu")
            ratio = f"{cpu / ours:.2f}" if ours else ""
            lines.append(
                f"| {dialect} | {agents:,} | {name} | {cpu * 1e3:.1f} ms | {ratio}"
                f" | {median(rounds, 'wall') * 1e3:.0f} ms | {peak / 1e6:.0f} MB"
                f" | {median(rounds, 'bytes') / 1e6:.2f} MB | {median(rounds, 'requests'):g} |"
            )
    return "\n".join(lines)


# Of the drawing: its size, and the frame of a panel within its half.
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 920, 360, 64, 40, 24, 48
COLOURS = {EXPORTER: "#1f6feb", SCRIPT: "#d1242f", FLOOR: "#6e7781"}


def exponent(value):
    return math.floor(math.log10(value))


def panel(x, title, unit, lines, note=None):
    """A chart with logarithmic axes: `lines` by name, points of agents and a value."""
    points = [point for line in lines.values() for point in line]
    west, east = exponent(min(p[0] for p in points)), math.ceil(math.log10(max(p[0] for p in points)))
    south, north = exponent(min(p[1] for p in points)), exponent(max(p[1] for p in points)) + 1
    wide, high = WIDTH / 2 - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(agents, value):
        right = (math.log10(agents) - west) / max(1, east - west)
        up = (math.log10(value) - south) / (north - south)
        return x + LEFT + right * wide, TOP + (1 - up) * high

    out = [f'<text x="{x + LEFT}" y="22" class="title">{title}</text>']
    for power in range(west, east + 1):
        at, low = place(10**power, 10**south)
        out.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{low}" class="grid"/>')
        out.append(f'<text x="{at:.1f}" y="{low + 18}" class="middle">{10**power:,}</text>')
    out.append(f'<text x="{x + LEFT + wide / 2}" y="{HEIGHT - 10}" class="middle">agents</text>')
    for power in range(south, north + 1):
        left, at = place(10**west, 10**power)
        out.append(f'<line x1="{left}" y1="{at:.1f}" x2="{left + wide}" y2="{at:.1f}" class="grid"/>')
        label = f"{10**power:g} {unit}"
        out.append(f'<text x="{left - 6}" y="{at + 4:.1f}" class="end">{label}</text>')
    for name, line in lines.items():
        colour = COLOURS[name]
        placed = [place(*point) for point in sorted(line)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in placed)
        out.append(f'<polyline points="{path}" stroke="{colour}"/>')
        out += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{colour}"/>' for px, py in placed]
        px, py = placed[-1]
        out.append(f'<text x="{px - 8:.1f}" y="{py - 9:.1f}" class="end" fill="{colour}">{name}</text>')
    if note:
        out.append(f'<text x="{x + LEFT + 8}" y="{TOP + high - 10}">{note}</text>')
    return out


def drawing(all_results, dialect):
    """CPU a cycle, and what of it is due to each agent, by the number of agents."""
    whole, each = {}, {}
    for (spoken, agents), results in sorted(all_results.items()):
        if spoken != dialect:
            continue
        for name, (rounds, _) in results.items():
            cpu = median(rounds, "cpu")
            whole.setdefault(name, []).append((agents, cpu * 1e3))
            if agents >= 100:
                each.setdefault(name, []).append((agents, cpu * 1e6 / agents))
    idle = dict(whole[EXPORTER]).get(1)
    note = f"idle, one agent: {idle:.1f} ms a cycle" if idle else None
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
        f' height="{HEIGHT}" font-family="sans-serif" font-size="12" fill="#24292f">',
        "<style>.title{font-size:14px;font-weight:600}.middle{text-anchor:middle}"
        ".end{text-anchor:end}.grid{stroke:#d0d7de}polyline{fill:none;stroke-width:2}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *panel(0, f"CPU a cycle, dialect {dialect}", "ms", whole, note),
        *panel(WIDTH / 2, "CPU a cycle and agent", "µs", each),
        "</svg>",
    ]
    return "\n".join(out) + "\n"


def machine(options):
    cpu = re.search(r"model name\s+: (.*)", Path("/proc/cpuinfo").read_text())

    def version(*command):
        made = subprocess.run(command, capture_output=True, text=True, check=True)
        return made.stdout.strip()

    return (
        f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f}, {platform.system()} {platform.release()};"
        f" {version(options.binary, '--version')}, {version('rustc', '--version')},"
        f" Python {platform.python_version()},"
        f" PureCloudPlatformClientV2 {packages.version('PureCloudPlatformClientV2')},"
        f" prometheus_client {packages.version('prometheus_client')};"
        f" {options.cycles} cycles each, every {options.interval:g} s, tempo {options.tempo:g}"
    )


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1,100,1000,10000,100000")
    parser.add_argument("--dialects", default="status,platform")
    parser.add_argument("--cycles", type=int, default=7, help="measured of each")
    parser.add_argument(
        "--tempo", type=float, default=1.0,
        help="of the organisation: 0.02 is one in which hardly anybody does anything",
    )
    parser.add_argument(
        "--then-budget", type=int, metavar="REQUESTS",
        help="a minute, once everybody is joined: else all that is left of the budget goes to asking"
        " for those who have not changed",
    )
    parser.add_argument("--interval", type=float, default=15.0, help="seconds")
    parser.add_argument("--script-max", type=int, default=10_000, help="agents")
    parser.add_argument("--binary", default=ROOT / "target/release/genesys-cloud-exporter")
    parser.add_argument(
        "--who", type=lambda who: [EXPORTER, *who.split(",")], default=f"{FLOOR},{SCRIPT}",
        help="beside the exporter",
    )
    parser.add_argument("--floor", help="the floor's program; built if not given")
    options = parser.parse_args()
    if FLOOR in options.who and not options.floor:
        options.floor = built_floor()
    print(machine(options))
    all_results = kept()
    for dialect in options.dialects.split(","):
        for agents in map(int, options.sizes.split(",")):
            print(f"dialect {dialect}, {agents:,} agents", flush=True)
            results = await side_by_side(options, dialect, agents)
            all_results[dialect, agents] = {**all_results.get((dialect, agents), {}), **results}
            keep(all_results)
    print(table(all_results))
    (HERE / "growth.svg").write_text(drawing(all_results, "status"))


def built_floor():
    """Where cargo put the floor's program."""
    made = subprocess.run(
        ["cargo", "bench", "--bench", "floor", "--no-run", "--message-format", "json"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout
    for line in made.splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == "floor" and message.get("executable"):
            return message["executable"]
    sys.exit("cargo names no program of the bench floor")


if __name__ == "__main__":
    asyncio.run(main())
