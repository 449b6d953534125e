"""The driver's arithmetic and reading, against what is known."""
import re
import unittest

import report
from results import Results, Summary, parse, ratio
from rows import families, marks


class Reading(unittest.TestCase):
    def test_lines_of_go_benchmarks(self):
        text = ("goos: linux\n"
                "BenchmarkErrOK-2   \t 3100964\t         3.963 ns/op\n"
                "BenchmarkLateness/waiting=1\t50\t5.73e+04 p50-ns\t1.18e+05 p99-ns\n"
                "BenchmarkEmpty\nPASS\n")
        self.assertEqual(list(parse(text, lambda row: row.removesuffix("-2"))), [
            ("ErrOK", 3100964, {"ns/op": 3.963}),
            ("Lateness/waiting=1", 50, {"p50-ns": 57300.0, "p99-ns": 118000.0}),
        ])


class Statistics(unittest.TestCase):
    def test_the_interval_of_ten_is_from_the_second_to_the_ninth(self):
        s = Summary([90, 95, 98, 99, 100, 100, 101, 102, 110, 300])
        self.assertEqual((s.median, s.low, s.high), (100, 95, 110))
        self.assertAlmostEqual(s.spread(), 0.10)

    def test_five_are_too_few_for_an_interval(self):
        self.assertIsNone(Summary([1, 2, 3, 4, 5]).spread())

    def test_a_ratio_is_taken_within_rounds(self):
        go, heed = {0: 10, 1: 1000, 2: 10}, {0: 1, 1: 100, 3: 7}  # round 1 was disturbed, 2 and 3 are halves
        self.assertEqual(ratio(go, heed).values, [10, 10])
        self.assertIsNone(ratio({}, heed))


class Families(unittest.TestCase):
    def test_what_is_compared_is_measured_together(self):
        rows = {m.row for _, group in marks() for m in group}
        all_families = list(families(sorted(rows)))
        for m in (m for _, group in marks() for m in group):
            home, = (f for f in all_families if re.search(f, m.row))
            self.assertRegex(m.go_row, home)
            if isinstance(m.floor, str):
                self.assertRegex(m.floor, home)

    def test_a_row_without_a_mark_has_a_family(self):
        self.assertEqual(list(families(["New/size=1", "New/size=2"])), ["^(New)(/|$)"])


class Report(unittest.TestCase):
    def results(self, heed, go, floor):
        r = Results()
        for round_ in range(10):
            r.add("heed", round_, "Floor/Load", {"ns/op": floor})
            r.add("heed", round_, "ErrOK", {"ns/op": heed})
            r.add("Go", round_, "ErrOK", {"ns/op": go})
        return r

    def there(self, *figures):
        (_, rows), = report.marked(self.results(*figures))
        return rows[0][-1]

    def test_both_figures_must_be_reached(self):
        self.assertEqual(self.there(0.28, 2.8, 0.28), "yes")
        self.assertEqual(self.there(0.28, 2.2, 0.28), "no")  # Go / 9 is wanted
        self.assertEqual(self.there(0.28, 2.8, 0.20), "no")  # no more than 1.15 floors are

    def test_every_wanted_figure_of_time_is_in_the_plot(self):
        self.assertEqual(report.marked_ratios(self.results(0.5, 5, 0.3)), [("ErrOK", 10, 9)])

    def test_numbers_have_three_digits(self):
        self.assertEqual([report.amount(x, "ns/op") for x in [0.2814, 5.312, 91.44, 123.4, 1234, 56e6]],
                         ["0.281 ns", "5.31 ns", "91.4 ns", "123 ns", "1.23 µs", "56.0 ms"])

    def test_no_row_has_two_marks_for_one_unit(self):
        all_marks = [(m.row, m.unit) for _, group in marks() for m in group]
        self.assertEqual(len(all_marks), len(set(all_marks)))


unittest.main()
