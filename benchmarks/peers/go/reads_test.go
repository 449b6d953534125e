package peer

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type depth struct{ _ int }

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func askOK(b *testing.B, ctx context.Context) {
	for b.Loop() {
		if ctx.Err() != nil {
			b.Fatal("err")
		}
	}
}
func askCanceled(b *testing.B, ctx context.Context) {
	for b.Loop() {
		if ctx.Err() == nil {
			b.Fatal("err")
		}
	}
}

func BenchmarkErrOK(b *testing.B) {
	wanted(b)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	askOK(b, ctx)
}

func BenchmarkErrCanceled(b *testing.B) {
	wanted(b)
	askCanceled(b, canceled())
}

func tenValues(ctx context.Context) context.Context {
	for i := range 10 {
		ctx = context.WithValue(ctx, &depth{}, i)
	}
	return ctx
}

// A benchmark cannot have sub-benchmarks and a loop of its own: the report calls these ErrOK/kind=... again.
func BenchmarkErrOKKinds(b *testing.B) {
	live, cancel := context.WithCancel(context.Background())
	defer cancel()
	later, cancelLater := context.WithTimeout(context.Background(), time.Hour)
	defer cancelLater()
	row(b, "kind=Background", func(b *testing.B) { askOK(b, context.Background()) })
	row(b, "kind=WithTimeout", func(b *testing.B) { askOK(b, later) })
	row(b, "kind=WithValue", func(b *testing.B) { askOK(b, tenValues(live)) })
	row(b, "kind=WithoutCancel", func(b *testing.B) { askOK(b, context.WithoutCancel(canceled())) })
}
func BenchmarkErrCanceledKinds(b *testing.B) {
	past, cancel := context.WithTimeout(context.Background(), -time.Second)
	defer cancel()
	row(b, "kind=WithTimeout", func(b *testing.B) { askCanceled(b, past) })
	row(b, "kind=WithValue", func(b *testing.B) { askCanceled(b, tenValues(canceled())) })
}

func BenchmarkCheckCanceled(b *testing.B) {
	ctx := canceled()
	row(b, "Err", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			ctx.Err()
		}
	})
	row(b, "Done", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			select {
			case <-ctx.Done():
			default:
				b.Fatal("done")
			}
		}
	})
}

func BenchmarkContextCancelDone(b *testing.B) {
	wanted(b)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			select {
			case <-ctx.Done():
				panic("done")
			default:
			}
		}
	})
}

func ask(ctx context.Context, want error, n int) {
	for range n {
		if ctx.Err() != want {
			panic("err")
		}
	}
}

func BenchmarkErrOKParallel(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	forThreads(b, func(n int, start func()) {
		start()
		ask(ctx, nil, n)
	})
}
func BenchmarkErrCanceledParallel(b *testing.B) {
	ctx := canceled()
	forThreads(b, func(n int, start func()) {
		start()
		ask(ctx, context.Canceled, n)
	})
}
func BenchmarkErrOKParallelDistinct(b *testing.B) {
	forThreads(b, func(n int, start func()) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		start()
		ask(ctx, nil, n)
	})
}

// golang/go#80914
func BenchmarkErrCanceledParallelDistinct(b *testing.B) {
	forThreads(b, func(n int, start func()) {
		ctx := canceled()
		start()
		ask(ctx, context.Canceled, n)
	})
}

func BenchmarkErrOKWhileChildrenComeAndGo(b *testing.B) {
	wanted(b)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var over atomic.Bool
	var other sync.WaitGroup
	running := make(chan struct{})
	other.Go(func() {
		for first := true; !over.Load(); first = false {
			_, cancel := context.WithCancel(ctx)
			cancel()
			if first {
				close(running)
			}
		}
	})
	<-running
	askOK(b, ctx)
	over.Store(true)
	other.Wait()
}
