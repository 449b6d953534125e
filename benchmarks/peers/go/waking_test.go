package peer

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

func BenchmarkAfterFunc(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	forThreads(b, func(n int, start func()) {
		start()
		for range n {
			stop := context.AfterFunc(ctx, func() { panic("ran") })
			if !stop() {
				panic("stop")
			}
		}
	})
}

// From the call of cancel until all waiters run, and what cancel itself took. A goroutine that waits needs no thread, and
// one that is woken can run on the thread that canceled; those of WakeUpThread have one each, as heed's waiters do.
func wakeUp(b *testing.B, locked bool) {
	for _, waiters := range sizes([]int{1, 10, 100}) {
		row(b, fmt.Sprintf("waiters=%d", waiters), func(b *testing.B) {
			var first, last, canceling []time.Duration
			for range 20 {
				ctx, cancel := context.WithCancel(context.Background())
				woken := make([]time.Duration, waiters)
				var ready, done sync.WaitGroup
				var from time.Time
				for i := range waiters {
					ready.Add(1)
					done.Go(func() {
						if locked {
							runtime.LockOSThread()
							defer runtime.UnlockOSThread()
						}
						ready.Done()
						<-ctx.Done()
						woken[i] = time.Since(from)
					})
				}
				ready.Wait()
				time.Sleep(500 * time.Microsecond)
				from = time.Now()
				cancel()
				canceling = append(canceling, time.Since(from))
				done.Wait()
				first = append(first, slices.Min(woken))
				last = append(last, slices.Max(woken))
			}
			b.ReportMetric(quantile(last, 0.5), "ns/op")
			b.ReportMetric(quantile(first, 0.5), "first-ns")
			b.ReportMetric(quantile(canceling, 0.5), "cancel-ns")
		})
	}
}

func BenchmarkWakeUp(b *testing.B)       { wakeUp(b, false) }
func BenchmarkWakeUpThread(b *testing.B) { wakeUp(b, true) }
