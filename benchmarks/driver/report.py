"""Tables from results: as text for a terminal, as Markdown for docs/performance.md."""
from results import Summary, ratio
from rows import marks


def number(x):
    """Three digits that count: 0.281, 5.31, 91.4, 1,234."""
    if x is None:
        return ""
    return f"{x:.3f}" if x < 1 else f"{x:.2f}" if x < 10 else f"{x:.1f}" if x < 100 else f"{x:,.0f}"


def amount(x, unit):
    if unit == "B/ctx":
        return f"{x:.0f} B"
    for size, name in [(1e9, "s"), (1e6, "ms"), (1e3, "µs")]:
        if x >= size:
            return f"{number(x / size)} {name}"
    return f"{number(x)} ns"


def percent(summary):
    spread = summary.spread()
    return "± ∞" if spread is None else f"± {100 * spread:.0f}%"


def times(summary):
    return f"{number(summary.median)}" if summary else ""


def best(values, unit):
    return amount(min(values.values()), unit) if values else ""


def marked(results, floors_from="heed"):
    """Yields (title, rows): the rows with a mark, each as a list of cells; see HEAD."""
    for title, group in marks():
        rows = []
        for m in group:
            heed = results.get("heed", m.row, m.unit)
            if not heed:
                continue
            ours, go = Summary(heed.values()), results.get("Go", m.go_row, m.unit)
            to_go = ratio(go, heed)
            measured = isinstance(m.floor, str)
            floor = results.get(floors_from, m.floor, "p50-ns" if m.unit == "p50-ns" else m.unit) if measured else \
                {r: m.floor for r in heed} if m.floor else {}
            to_floor = ratio(heed, floor)
            reached = []
            if m.go and to_go:
                reached.append(to_go.median >= m.go)
            if m.floor_ratio and to_floor:
                reached.append(to_floor.median <= m.floor_ratio)
            if m.most:
                reached.append(ours.median <= m.most)
            wanted = [f"Go ÷ {m.go}"] if m.go else []
            wanted += [f"≤ {m.floor_ratio} × floor"] if m.floor_ratio else []
            wanted += [f"≤ {amount(m.most, m.unit)}"] if m.most else []
            rows.append([
                m.row + ("" if m.unit in ("ns/op", "B/ctx") else f" ({m.unit.removesuffix('-ns')})"),
                amount(ours.median, m.unit), percent(ours), best(heed, m.unit),
                amount(Summary(go.values()).median, m.unit) if go else "", best(go, m.unit),
                times(to_go), percent(to_go) if to_go else "",
                (amount(Summary(floor.values()).median, m.unit) + ("" if measured else "*")) if floor else "",
                times(to_floor), ", ".join(wanted),
                "" if not reached else "yes" if all(reached) else "no",
            ])
        if rows:
            yield title, rows


def marked_ratios(results):
    """(label, Go / heed, wanted) of each row with a mark."""
    found = []
    for _, group in marks():
        for m in group:
            to_go = ratio(results.get("Go", m.go_row, m.unit), results.get("heed", m.row, m.unit))
            if to_go and (m.go or m.most):
                unit = "" if m.unit in ("ns/op", "B/ctx") else f" ({m.unit.removesuffix('-ns')})"
                found.append((m.row + unit, to_go.median, m.go))
    return found


HEAD = ["row", "heed", "", "best", "Go", "best", "Go ÷ heed", "", "floor", "heed ÷ floor", "wanted", "there?"]
NOTE = """\
The floor of a whole operation is its bare steps, of no use to anybody (`benchmarks/heed/sketches.cpp`): the memory that has to be
written, and the locked instructions that it cannot do without. `*`: not measured here: what a prototype took on a Zen 4 server
core. WakeUp is beside Go's goroutines that have a thread each (WakeUpThread), CancelCallback beside Go's AfterFunc,
WithValueChainMoved, where each parent is moved from, beside Go's WithValueChain."""


def others(results, names):
    """The rows that another peer than Go has, all implementations side by side."""
    peers = [n for n in names if n not in ("heed", "Go")]
    head = ["row", "heed", "Go", *peers]
    rows = []
    for row in results.order:
        for unit in results.values.get("heed", {}).get(row, {}):
            if any(results.get(p, row, unit) for p in peers):
                cells = [results.get(n, row, unit) for n in head[1:]]
                label = row if unit in ("ns/op", "B/ctx") else f"{row} ({unit.removesuffix('-ns')})"
                rows.append([label] + [amount(Summary(c.values()).median, unit) if c else "" for c in cells])
    return head, rows


def text_table(head, rows):
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]

    def line(cells):
        first, *rest = (c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths)))
        return "  ".join([first, *rest]).rstrip()

    return "\n".join(line(r) for r in [head, *rows])


def markdown_table(head, rows):
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def rest(results, names):
    """The rows without a mark, all implementations side by side."""
    with_mark = {m.row for _, group in marks() for m in group}
    rows = []
    for row in results.order:
        if row in with_mark:
            continue
        for unit in dict.fromkeys(u for n in names for u in results.values.get(n, {}).get(row, {})):
            cells = [results.get(n, row, unit) for n in names]
            label = row if unit in ("ns/op", "B/ctx") else f"{row} ({unit.removesuffix('-ns')})"
            rows.append([label] + [amount(Summary(c.values()).median, unit) if c else "" for c in cells])
    return ["row", *names], rows


def text(results, names):
    groups = list(marked(results))
    parts = []
    if groups:
        all_rows = [row for _, rows in groups for row in rows]
        table = text_table(HEAD, all_rows).splitlines()
        at = 1
        parts.append(table[0])
        for title, rows in groups:
            parts += ["", f"-- {title}", *table[at:at + len(rows)]]
            at += len(rows)
        parts += ["", NOTE]
    head, rows = rest(results, names)
    if rows:
        parts += ["", "-- The rest", text_table(head, rows)]
    head, rows = others(results, names)
    if rows:
        parts += ["", "-- Other peers", text_table(head, rows)]
    return "\n".join(parts) + "\n"


def markdown(results, names, about, plots):
    """What stands between the markers of docs/performance.md."""
    parts = ["\n".join(f"- {line}" for line in about), "## heed beside Go and the floors", """\
Medians over the rounds. `±` is the 95 % interval of the median to its left, *best* the best round: on a virtual machine whose
neighbors come and go, that tells what the hardware does. In each round, what is compared is measured one right after the
other, and the ratio taken, as what disturbs the one mostly disturbs the other; its median is shown. *there?* says whether the
wanted figure was reached."""]
    for title, rows in marked(results):
        parts += [f"### {title}", markdown_table(HEAD, rows)]
    parts.append(NOTE)
    head, rows = others(results, names)
    if rows:
        parts += ["## Beside other peers", "Each on the workloads that it can do; blank where it cannot.",
                  markdown_table(head, rows)]
    if plots:
        parts += ["## How cost grows", *(f"![{title}](plots/{file})" for title, file in plots)]
    head, rows = rest(results, names)
    if rows:
        parts += ["## All other rows", markdown_table(head, rows)]
    return "\n\n".join(parts) + "\n"
