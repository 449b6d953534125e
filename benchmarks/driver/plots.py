"""Plots of how cost grows, and of heed beside Go, drawn by gnuplot."""
import re
import shutil
import subprocess

from report import marked_ratios, number
from results import Summary

COLORS = {"heed": "#c2410c", "Go": "#0e7490", "tokio": "#6d28d9", "std::stop_token": "#4d7c0f", "Boost.Asio": "#64748b"}

# file, title, what x is, rows (one group: x), whether the cost is per x
CURVES = [
    ("err_by_threads", "err() of one canceled context", "threads", r"ErrCanceledParallel/threads=(\d+)", False),
    ("children_by_threads", "A child of one parent: made and canceled", "threads",
     r"CommonParentCancelBare/threads=(\d+)", False),
    ("requests_by_threads", "A request of one server: a value and a context of its own", "threads",
     r"RequestsOfOneServer/threads=(\d+)", False),
    ("timeouts_by_waiting", "Ten timeouts set and canceled", "timers that wait", r"WithTimeout/concurrency=(\d+)", False),
    ("tree_by_depth", "A chain made and canceled, per level", "levels", r"CancelTree/depth=(\d+)/Root=OpenCanceler",
     True),
    ("cancel_by_children", "cancel(), per child", "children", r"FanOut/children=(\d+)", True),
    ("miss_by_depth", "A value that is not there", "values above", r"ValueMiss/depth=(\d+)", False),
]

STYLE = """
set terminal svg size {size} dynamic font 'Helvetica,13' background '#ffffff'
set output '{path}'
set termoption noenhanced
set border 3 lc rgb '#475569'
set tics nomirror textcolor rgb '#334155'
set grid y lc rgb '#e2e8f0' lt 1
set title '{title}' textcolor rgb '#0f172a'
"""


def gnuplot(script):
    subprocess.run(["gnuplot"], input=script, text=True, check=True, stdout=subprocess.DEVNULL)


def points(results, name, pattern):
    found = []
    for row in results.values.get(name, {}):
        match = re.fullmatch(pattern, row)
        if match and results.get(name, row):
            found.append((int(match[1]), Summary(results.get(name, row).values()).median))
    return sorted(found)


def curve(results, names, path, title, what, pattern, per):
    lines = {n: points(results, n, pattern) for n in names}
    lines = {n: p for n, p in lines.items() if len(p) > 1}
    if "heed" not in lines:
        return False
    log_x = "" if what == "threads" else "set logscale x\nset format x '%.0s%c'\n"
    # What is measured of a chain or of all children is one operation; FanOut's figure is per child already.
    divide = (lambda x, y: y / x) if per and pattern.startswith("CancelTree") else (lambda _, y: y)
    data = "".join(
        f"${re.sub('[^a-zA-Z]', '_', n)} << EOD\n" + "".join(f"{x} {divide(x, y)}\n" for x, y in p) + "EOD\n"
        for n, p in lines.items())
    plots = ", ".join(
        f"${re.sub('[^a-zA-Z]', '_', n)} using 1:2 with linespoints pt 7 ps 0.5 lw {3 if n == 'heed' else 1.5} "
        f"lc rgb '{COLORS[n]}' title '{n}'" for n, p in lines.items())
    gnuplot(STYLE.format(size="640,380", path=path, title=title) + log_x + data + f"""
set logscale y
set xlabel '{what}' textcolor rgb '#334155'
set ylabel 'ns' textcolor rgb '#334155'
set key outside right center textcolor rgb '#334155'
plot {plots}
""")
    return True


def overview(results, path):
    """A bar for each row: how many times as long Go takes; a line where it should end."""
    bars = list(reversed(marked_ratios(results)))
    if not bars:
        return False
    data = "".join(f'"{label}" {i} {value} {wanted or "NaN"} {max(1, value)} "{number(value)}"\n'
                   for i, (label, value, wanted) in enumerate(bars))
    gnuplot(STYLE.format(size=f"760,{110 + 22 * len(bars)}", path=path, title="How many times as long Go takes") + f"""
$bars << EOD
{data}EOD
set logscale x
unset grid
set xrange [{min(0.5, *(v / 2 for _, v, _ in bars))}:{2.5 * max(v for _, v, _ in bars)}]
set yrange [-0.7:{len(bars) - 0.3}]
set xlabel 'Go ÷ heed; the line: what is wanted' textcolor rgb '#334155'
set arrow from 1, graph 0 to 1, graph 1 nohead lc rgb '#475569'
unset key
color(x) = x < 1 ? 0x94a3b8 : {COLORS["heed"].replace("#", "0x")}
plot $bars using 3:2:(1):3:($2-0.35):($2+0.35):(color($3)):ytic(1) with boxxyerror fs solid noborder lc rgb variable, \
     $bars using 4:2:(0):(0.4) with vectors nohead lw 2 lc rgb '#0f172a', \
     $bars using 4:2:(0):(-0.4) with vectors nohead lw 2 lc rgb '#0f172a', \
     $bars using ($5*1.1):2:6 with labels left font ',11' textcolor rgb '#334155'
""")
    return True


def draw(results, names, folder):
    """Draws what there are figures for; returns [(title, file name)]."""
    if not shutil.which("gnuplot"):
        print("SKIPPED: the plots: there is no gnuplot")
        return []
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    if overview(results, folder / "overview.svg"):
        drawn.append(("How many times as long Go takes", "overview.svg"))
    for file, title, what, pattern, per in CURVES:
        if curve(results, names, folder / f"{file}.svg", title, what, pattern, per):
            drawn.append((f"{title}, by {what}", f"{file}.svg"))
    return drawn
