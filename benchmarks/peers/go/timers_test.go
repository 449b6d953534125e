package peer

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"testing"
	"time"
)

// Ten timeouts made, then canceled, while others wait.
func BenchmarkWithTimeout(b *testing.B) {
	for _, waiting := range sizes([]int{40, 400, 4000, 40_000, 400_000}, 4_000_000) {
		name := fmt.Sprintf("concurrency=%d", waiting)
		if !matches(b, name) {
			continue
		}
		others := make([]context.CancelFunc, waiting)
		var making sync.WaitGroup
		for half := range 2 { // on both cores, as Go's benchmark does: each has a heap of timers
			making.Go(func() {
				for i := half; i < waiting; i += 2 {
					_, others[i] = context.WithTimeout(context.Background(), time.Hour)
				}
			})
		}
		making.Wait()
		row(b, name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				var ten [10]context.CancelFunc
				for pb.Next() {
					for i := range ten {
						_, ten[i] = context.WithTimeout(context.Background(), time.Hour)
					}
					for _, cancel := range ten {
						cancel()
					}
				}
			})
		})
		for _, cancel := range others {
			cancel()
		}
	}
}

func lateness(ctx context.Context) time.Duration {
	when, _ := ctx.Deadline()
	return time.Since(when)
}

func reportLateness(b *testing.B, late []time.Duration) {
	for _, l := range late {
		if l < 0 {
			b.Fatal("a deadline came too early")
		}
	}
	b.ReportMetric(0, "ns/op") // leaves it out
	b.ReportMetric(quantile(late, 0.5), "p50-ns")
	b.ReportMetric(quantile(late, 0.99), "p99-ns")
}

func BenchmarkLateness(b *testing.B) {
	// A goroutine waits for one deadline at a time.
	row(b, "waiting=1", func(b *testing.B) {
		var late []time.Duration
		for range 50 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			<-ctx.Done()
			late = append(late, lateness(ctx))
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				b.Fatal("err")
			}
			cancel()
		}
		reportLateness(b, late)
	})
	// A thousand within a tenth of a second; a goroutine waits for one after the other.
	row(b, "waiting=1000", func(b *testing.B) {
		after := make([]time.Duration, 1000)
		for i := range after {
			after[i] = 20*time.Millisecond + time.Duration(rand.Intn(100_000_000))
		}
		slices.Sort(after)
		from := time.Now()
		all := make([]context.Context, len(after))
		for i, d := range after {
			ctx, cancel := context.WithDeadline(context.Background(), from.Add(d))
			defer cancel()
			all[i] = ctx
		}
		var late []time.Duration
		for _, ctx := range all {
			<-ctx.Done()
			late = append(late, lateness(ctx))
		}
		reportLateness(b, late)
	})
}
