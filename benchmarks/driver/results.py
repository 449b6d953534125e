"""Measurements: read from the programs' output, kept by round, summed up."""
import re
import statistics

LINE = re.compile(r"^Benchmark(\S+)\s+(\d+)\s+(.*\S)\s*$")


def parse(text, rename=lambda name: name):
    """Yields (row, iterations, {unit: value}) of each line in the format of Go's benchmarks."""
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            fields = match[3].split()
            yield rename(match[1]), int(match[2]), dict(zip(fields[1::2], map(float, fields[0::2])))


class Results:
    """implementation -> row -> unit -> {when: value}; when: any key, the same for what was measured together"""

    def __init__(self):
        self.values = {}
        self.order = []  # of rows, as first seen

    def add(self, implementation, when, row, metrics):
        if row not in self.order:
            self.order.append(row)
        units = self.values.setdefault(implementation, {}).setdefault(row, {})
        for unit, value in metrics.items():
            units.setdefault(unit, {})[when] = value

    def get(self, implementation, row, unit="ns/op"):
        return self.values.get(implementation, {}).get(row, {}).get(unit, {})


class Summary:
    """The median, and the 95 % interval around it by order statistics, as benchstat does it."""

    def __init__(self, values):
        self.values = sorted(values)
        self.median = statistics.median(self.values)
        self.n = len(self.values)
        self.low, self.high = self._interval()

    def _interval(self):
        # From the k-th smallest to the k-th largest: misses the true median where fewer than k of n coins show heads.
        miss, exactly, k = 0.0, 0.5**self.n, 0
        while k < self.n // 2 and miss + 2 * exactly <= 0.05:
            miss += 2 * exactly
            exactly *= (self.n - k) / (k + 1)
            k += 1
        return (self.values[k - 1], self.values[self.n - k]) if k else (None, None)

    def spread(self):
        """How far the interval reaches, as a fraction of the median; None where there are too few values to say."""
        if self.low is None or not self.median:
            return None
        return max(self.median - self.low, self.high - self.median) / self.median


def ratio(above, below):
    """The summary of the ratios of what was measured together: what disturbs the one disturbs the other."""
    both = set(above) & set(below)
    return Summary([above[when] / below[when] for when in both]) if both else None
