// Go's side of ./bench: the same workloads on the real context package, by the same names.
// By hand: go test -bench . -benchtime 10ms
package peer

import (
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var large = flag.Bool("large", false, "the largest sizes, too")

// sizes gives those that are to be measured.
func sizes(small []int, big ...int) []int {
	if testing.Short() {
		return small[:1]
	}
	if *large {
		return append(small, big...)
	}
	return small
}

var only = flag.String("only", "", "measure only rows that match this regular expression")
var pattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(*only) })

// rowOf is the row's name as it is reported: see BenchmarkErrOKKinds.
func rowOf(name string) string {
	return strings.Replace(strings.TrimPrefix(name, "Benchmark"), "Kinds/", "/", 1)
}

// wanted skips a benchmark without sub-benchmarks that is not to be measured.
func wanted(b *testing.B) {
	if !pattern().MatchString(rowOf(b.Name())) {
		b.Skip()
	}
}

// matches tells whether this row of b is to be measured. Ask before expensive preparations.
func matches(b *testing.B, name string) bool {
	return pattern().MatchString(rowOf(b.Name() + "/" + name))
}

// row is b.Run, where the row is to be measured.
func row(b *testing.B, name string, f func(b *testing.B)) {
	if matches(b, name) {
		b.Run(name, f)
	}
}

var threads = []int{1, 2, 3, 4, 6, 8}

// inThreads shares b.N operations out to goroutines. Each prepares, then gets what to call when it is ready.
func inThreads(b *testing.B, goroutines int, body func(n int, start func())) {
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	for i := range goroutines {
		n := b.N / goroutines
		if i < b.N%goroutines {
			n++
		}
		ready.Add(1)
		done.Go(func() {
			body(n, func() {
				ready.Done()
				<-gate
			})
		})
	}
	ready.Wait()
	b.ResetTimer()
	close(gate)
	done.Wait()
	b.StopTimer()
}

// forThreads makes a row of each number of goroutines.
func forThreads(b *testing.B, body func(n int, start func())) {
	for _, t := range sizes(threads) {
		row(b, fmt.Sprintf("threads=%d", t), func(b *testing.B) { inThreads(b, t, body) })
	}
}

// timed is for operations that are only a part of what must be done: f does some, and tells how many and how long they
// took. The line shows that time.
func timed(b *testing.B, f func() (int, time.Duration)) {
	var count int
	var took time.Duration
	for begin := time.Now(); count == 0 || time.Since(begin) < benchtime(); {
		c, t := f()
		count += c
		took += t
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(count), "ns/op")
}

// benchtime is what was asked for on the command line.
func benchtime() time.Duration {
	d, err := time.ParseDuration(flag.Lookup("test.benchtime").Value.String())
	if err != nil {
		return time.Millisecond // a number of iterations
	}
	return d
}

func quantile(all []time.Duration, q float64) float64 {
	slices.Sort(all)
	return float64(all[int(q*float64(len(all)-1))].Nanoseconds())
}
