// Random programs: one operation at a time, chosen with an eye on what the machine has by now.
package conformance

import (
	"math/rand/v2"
	"strconv"
)

type generator struct {
	random *rand.Rand
	m      *machine
}

func (g *generator) number(below int) int { return g.random.IntN(below) }

func (g *generator) one(in int) bool { return g.random.IntN(in) == 0 }

// Context: often the newest, for deep trees; sometimes one that has ended, for what comes too late.
func (g *generator) context() string {
	n := len(g.m.contexts)
	choice := g.number(n)
	switch g.number(8) {
	case 0, 1, 2:
		choice = g.newest()
	case 3:
		for range 8 {
			if c := g.m.contexts[choice].ctx; c != nil && c.Err() != nil {
				break
			}
			choice = g.number(n)
		}
	}
	for range 4 { // rather not one that is forgotten
		if g.m.contexts[choice].ctx != nil {
			break
		}
		choice = g.number(n)
	}
	return strconv.Itoa(choice)
}

// Newest: mostly the newest that is live.
func (g *generator) newest() int {
	n := len(g.m.contexts)
	if g.one(5) {
		return n - 1
	}
	for i := n - 1; i > 0; i-- {
		if c := g.m.contexts[i].ctx; c != nil && c.Err() == nil {
			return i
		}
	}
	return 0
}

// Cancelable: where a cancel says something.
func (g *generator) cancelable() string {
	choice := g.number(len(g.m.contexts))
	for range 8 {
		if g.m.contexts[choice].cancel != nil {
			break
		}
		choice = g.number(len(g.m.contexts))
	}
	return strconv.Itoa(choice)
}

func (g *generator) cause() string {
	if g.one(3) {
		return "-"
	}
	return "c" + strconv.Itoa(g.number(causes))
}

func (g *generator) timeout() string {
	if g.one(40) {
		return []string{"forever", "-forever"}[g.number(2)]
	}
	return strconv.Itoa(10 * []int{-3, -1, 0, 1, 1, 2, 3, 3, 5, 8}[g.number(10)])
}

// Deadline: near now, or the very one that a context has already.
func (g *generator) deadline() string {
	if c := g.m.contexts[g.number(len(g.m.contexts))].ctx; c != nil && g.one(3) {
		if when, ok := c.Deadline(); ok {
			ms := when.UnixMilli() - g.m.start.UnixMilli()
			if year := int64(365 * 24 * 3600 * 1000); -year < ms && ms < year { // not one of forever's
				return strconv.FormatInt(ms, 10)
			}
		}
	}
	t := g.timeout()
	if t == "forever" || t == "-forever" {
		return t
	}
	return strconv.Itoa(number(t) + int(milliseconds(g.m.now()).Milliseconds()))
}

func (g *generator) value() string {
	if g.one(12) {
		return "nil"
	}
	return "v" + strconv.Itoa(g.number(10))
}

// Key: a few often, so that they hide each other; sometimes any.
func (g *generator) key() string {
	if g.one(4) {
		return "k" + strconv.Itoa(g.number(keys))
	}
	return "k" + strconv.Itoa(g.number(3))
}

func (g *generator) next() string {
	switch n := g.number(100); {
	case n < 18:
		return "with_cancel " + g.context()
	case n < 26:
		return "with_deadline " + g.context() + " " + g.deadline() + " " + g.cause()
	case n < 34:
		return "with_timeout " + g.context() + " " + g.timeout() + " " + g.cause()
	case n < 44:
		return "with_value " + g.context() + " " + g.key() + " " + g.value()
	case n < 47:
		return "without_cancel " + g.context()
	case n < 57:
		return "cancel " + g.cancelable() + " " + g.cause()
	case n < 59:
		return "leave " + g.cancelable()
	case n < 62:
		return "forget " + g.context()
	case n < 71:
		return "after_func " + g.context()
	case n < 77:
		return "stop f" + strconv.Itoa(g.number(len(g.m.stops)+1))
	case n < 85:
		return "advance " + strconv.Itoa(5*g.number(6))
	}
	return "read " + g.context()
}
