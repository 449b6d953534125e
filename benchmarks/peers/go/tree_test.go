package peer

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// The compiler sees that x stays 0, and leaves a loop that counts.
func divide(x int) int {
	for range 100 {
		x /= x + 1
	}
	return x
}

func BenchmarkCommonParentCancel(b *testing.B) {
	wanted(b)
	root := context.WithValue(context.Background(), "key", "value")
	shared, cancelShared := context.WithCancel(root)
	defer cancelShared()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		x := 0
		for pb.Next() {
			ctx, cancel := context.WithCancel(shared)
			if ctx.Value("key").(string) != "value" {
				panic("value")
			}
			x = divide(x)
			cancel()
			x = divide(x)
		}
	})
}

func BenchmarkCommonParentCancelBare(b *testing.B) {
	root := context.WithValue(context.Background(), "key", "value")
	shared, cancelShared := context.WithCancel(root)
	defer cancelShared()
	forThreads(b, func(n int, start func()) {
		start()
		for range n {
			ctx, cancel := context.WithCancel(shared)
			if ctx.Value("key").(string) != "value" {
				panic("value")
			}
			cancel()
		}
	})
}

type requestNumber struct{}

func BenchmarkRequestsOfOneServer(b *testing.B) {
	top, cancelTop := context.WithCancel(context.Background())
	defer cancelTop()
	base := context.WithValue(top, "key", "value")
	forThreads(b, func(n int, start func()) {
		start()
		for i := range n {
			request := context.WithValue(base, requestNumber{}, i)
			ctx, cancel := context.WithCancel(request)
			if ctx.Value(requestNumber{}).(int) != i {
				panic("value")
			}
			cancel()
		}
	})
}

func BenchmarkWithCancel(b *testing.B) {
	open, cancelOpen := context.WithCancel(context.Background())
	defer cancelOpen()
	loop := func(b *testing.B, parent context.Context) {
		for i := 0; i < b.N; i++ {
			_, cancel := context.WithCancel(parent)
			cancel()
		}
	}
	row(b, "Root=Background", func(b *testing.B) { loop(b, context.Background()) })
	row(b, "Root=OpenCanceler", func(b *testing.B) { loop(b, open) })
}

func chain(ctx context.Context, depth int) context.Context {
	for range depth {
		ctx, _ = context.WithCancel(ctx)
	}
	return ctx
}

func BenchmarkCancelTree(b *testing.B) {
	for _, depth := range sizes([]int{1, 10, 100, 1000}, 10_000, 100_000, 1_000_000) {
		name := fmt.Sprintf("depth=%d/", depth)
		row(b, name+"Root=Background", func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				if chain(context.Background(), depth).Err() != nil {
					b.Fatal("err")
				}
			}
		})
		row(b, name+"Root=OpenCanceler", func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				ctx, cancel := context.WithCancel(context.Background())
				leaf := chain(ctx, depth)
				cancel()
				if leaf.Err() == nil {
					b.Fatal("err")
				}
			}
		})
		row(b, name+"Root=ClosedCanceler", func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				if chain(ctx, depth).Err() == nil {
					b.Fatal("err")
				}
			}
		})
	}
}

// Only cancel is timed. Per child.
func fanOut(b *testing.B, children int) {
	row(b, fmt.Sprintf("children=%d", children), func(b *testing.B) {
		parents := max(1, 1000/children)
		below := make([]context.Context, parents*children)
		cancels := make([]context.CancelFunc, parents)
		timed(b, func() (int, time.Duration) {
			for p := range parents {
				var root context.Context
				root, cancels[p] = context.WithCancel(context.Background())
				for c := range children {
					below[p*children+c], _ = context.WithCancel(root)
				}
			}
			begin := time.Now()
			for _, cancel := range cancels {
				cancel()
			}
			took := time.Since(begin)
			for _, ctx := range below {
				if ctx.Err() == nil {
					b.Fatal("err")
				}
			}
			return len(below), took
		})
	})
}

func BenchmarkFanOut(b *testing.B) {
	for _, children := range sizes([]int{1, 10, 100, 1000, 10_000, 100_000}, 1_000_000) {
		fanOut(b, children)
	}
}

// Go keeps children in a map, which it walks in random order: there is no other order to measure.
func BenchmarkFanOutShuffled(b *testing.B) {
	for _, children := range sizes([]int{1000, 100_000}, 1_000_000) {
		fanOut(b, children)
	}
}
