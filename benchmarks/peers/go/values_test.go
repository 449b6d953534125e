package peer

import (
	"context"
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"testing"
)

type key struct{ _ int }

// Keys at random addresses, drawn from many; as `any`, since Go's values are asked for by interfaces. Pointers are what
// such an interface holds without another allocation.
type drawer struct {
	keys   []key
	random *rand.Rand
}

func newDrawer() *drawer { return &drawer{make([]key, 1<<16), rand.New(rand.NewSource(1))} }

func (d *drawer) draw() any { return &d.keys[d.random.Intn(len(d.keys))] }

func (d *drawer) some(n int) []any {
	var keys []any
	for len(keys) < n {
		if k := d.draw(); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// The first key is the farthest away, with the value 0.
func valueChain(keys []any) context.Context {
	ctx := context.Background()
	for i, k := range keys {
		ctx = context.WithValue(ctx, k, i)
	}
	return ctx
}

func BenchmarkWithValueChain(b *testing.B) {
	for _, length := range sizes([]int{1, 10, 100, 1000}) {
		keys := newDrawer().some(length)
		row(b, fmt.Sprintf("length=%d", length), func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				if valueChain(keys).Value(keys[length-1]) == nil {
					b.Fatal("value")
				}
			}
		})
	}
}

type questions struct {
	ctx  context.Context
	keys []any
}

// Eight chains in turn, 128 questions each.
func lookups(b *testing.B, prefix string, there bool, ask func(d *drawer, depth int) questions) {
	for _, depth := range sizes([]int{1, 10, 50, 100, 1000}) {
		d := newDrawer()
		var all []questions
		for range 8 {
			all = append(all, ask(d, depth))
		}
		row(b, fmt.Sprintf("%s=%d", prefix, depth), func(b *testing.B) {
			for left := b.N; left > 0; {
				for _, q := range all {
					keys := q.keys[:min(left, len(q.keys))]
					for _, k := range keys {
						if (q.ctx.Value(k) != nil) != there {
							b.Fatal("value")
						}
					}
					left -= len(keys)
				}
			}
		})
	}
}

func BenchmarkValueMiss(b *testing.B) {
	lookups(b, "depth", false, func(d *drawer, depth int) questions {
		present := d.some(depth)
		q := questions{ctx: valueChain(present)}
		for len(q.keys) < 128 {
			if k := d.draw(); !slices.Contains(present, k) {
				q.keys = append(q.keys, k)
			}
		}
		return q
	})
}

func BenchmarkValueHit(b *testing.B) {
	lookups(b, "depth", true, func(d *drawer, depth int) questions {
		present := d.some(depth)
		return questions{valueChain(present), slices.Repeat(present[:1], 128)}
	})
}

func intChain(depth int) context.Context {
	ctx := context.Background()
	for i := range depth {
		ctx = context.WithValue(ctx, i, i)
	}
	return ctx
}

func BenchmarkDeepValueSameGoRoutine(b *testing.B) {
	for _, depth := range sizes([]int{10, 20, 30, 50, 100}) {
		ctx := intChain(depth)
		row(b, fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				ctx.Value(-1)
			}
		})
	}
}

func BenchmarkDeepValueNewGoRoutine(b *testing.B) {
	for _, depth := range sizes([]int{10, 20, 30, 50, 100}) {
		ctx := intChain(depth)
		row(b, fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				var wg sync.WaitGroup
				wg.Add(1)
				go func() {
					defer wg.Done()
					ctx.Value(-1)
				}()
				wg.Wait()
			}
		})
	}
}
