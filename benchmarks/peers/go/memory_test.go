package peer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

type growing struct {
	ctx    context.Context
	cancel context.CancelFunc
}

func kinds() map[string]func(i int) growing {
	open, cancel := context.WithCancel(context.Background())
	_ = cancel
	pair := func(ctx context.Context, cancel context.CancelFunc) growing { return growing{ctx, cancel} }
	k := new(key)
	return map[string]func(i int) growing{
		"kind=WithCancel":                   func(int) growing { return pair(context.WithCancel(context.Background())) },
		"kind=WithCancel/Root=OpenCanceler": func(int) growing { return pair(context.WithCancel(open)) },
		"kind=WithTimeout":                  func(int) growing { return pair(context.WithTimeout(context.Background(), time.Hour)) },
		"kind=WithValue":                    func(i int) growing { return growing{ctx: context.WithValue(context.Background(), k, i+1000)} },
	}
}

func resident() float64 {
	var total, pages int
	text, _ := os.ReadFile("/proc/self/statm")
	fmt.Sscan(string(text), &total, &pages)
	return float64(pages * os.Getpagesize())
}

// How much a process grows by a million contexts, the handles on them not counted, and without the room that the
// garbage collector would keep. In a process of its own.
func TestMain(m *testing.M) {
	kind := os.Getenv("HEED_BENCH_GROW")
	if kind == "" {
		os.Exit(m.Run())
	}
	debug.SetGCPercent(-1)
	count, _ := strconv.Atoi(os.Getenv("HEED_BENCH_COUNT"))
	makeOne := kinds()[kind]
	handles := make([]growing, count)
	for i := range handles {
		handles[i] = growing{cancel: func() {}} // so that their pages are there
	}
	handles[0] = makeOne(0)
	before := resident()
	for i := range handles {
		handles[i] = makeOne(i)
	}
	fmt.Println((resident() - before) / float64(count))
}

func BenchmarkMemory(b *testing.B) {
	count := 1_000_000
	if testing.Short() {
		count = 1000
	}
	for kind := range kinds() {
		row(b, kind, func(b *testing.B) {
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), "HEED_BENCH_GROW="+kind, fmt.Sprint("HEED_BENCH_COUNT=", count))
			text, err := child.Output()
			if err != nil {
				b.Fatal(err)
			}
			var bytes float64
			fmt.Sscan(strings.TrimSpace(string(text)), &bytes)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(bytes, "B/ctx")
		})
	}
}
