// Performs operations on Go's own context package and answers as ../README.md says.
package conformance

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing/synctest"
	"time"
)

const (
	causes = 8
	keys   = 10
)

type key int

var causeOf = func() (all [causes]error) {
	for i := range all {
		all[i] = errors.New("c" + strconv.Itoa(i))
	}
	return
}()

// Slot is one numbered context; a forgotten one is empty.
type slot struct {
	ctx    context.Context
	cancel func(cause error) // nil where it cannot be canceled by itself
}

// Machine lives in one synctest bubble.
type machine struct {
	start    time.Time
	contexts []slot
	stops    []func() bool

	mu  sync.Mutex
	ran []int // functions, since the last advance
}

func newMachine() *machine {
	return &machine{start: time.Now(), contexts: []slot{{ctx: context.Background()}}}
}

func (m *machine) slot(word string) *slot {
	i, err := strconv.Atoi(word)
	if err != nil || i >= len(m.contexts) || m.contexts[i].ctx == nil {
		return nil
	}
	return &m.contexts[i]
}

func cause(word string) error {
	if word == "-" {
		return nil
	}
	return causeOf[number(word[1:])]
}

func number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		panic("not a number: " + word)
	}
	return n
}

func milliseconds(word string) time.Duration {
	switch word {
	case "forever":
		return math.MaxInt64
	case "-forever":
		return math.MinInt64
	}
	return time.Duration(number(word)) * time.Millisecond
}

// Perform gives the answer, empty where the operation has none.
func (m *machine) perform(line string) string {
	words := strings.Split(line, " ")
	switch words[0] {
	case "advance":
		return m.advance(milliseconds(words[1]))
	case "stop":
		f := number(words[1][1:])
		return strconv.FormatBool(f < len(m.stops) && m.stops[f]())
	}
	s := m.slot(words[1])
	switch words[0] {
	case "cancel":
		if s == nil || s.cancel == nil {
			return "gone"
		}
		// Go's cancel does not say whether it decided; what Err said just before does.
		decided := s.ctx.Err() == nil
		s.cancel(cause(words[2]))
		return strconv.FormatBool(decided)
	case "leave", "forget":
		if s == nil || words[1] == "0" {
			return "gone"
		}
		if words[0] == "leave" && s.cancel != nil {
			s.cancel(nil)
		}
		*s = slot{}
		return ""
	case "after_func":
		return m.afterFunc(s)
	case "read":
		if s == nil {
			return "gone"
		}
		return m.read(s.ctx)
	}
	return m.derive(s, words)
}

func (m *machine) derive(parent *slot, words []string) string {
	if parent == nil {
		m.contexts = append(m.contexts, slot{})
		return "gone"
	}
	var made slot
	var plain context.CancelFunc
	switch words[0] {
	case "with_cancel":
		made.ctx, made.cancel = context.WithCancelCause(parent.ctx)
	case "with_deadline":
		made.ctx, plain = context.WithDeadlineCause(parent.ctx, m.start.Add(milliseconds(words[2])), cause(words[3]))
	case "with_timeout":
		made.ctx, plain = context.WithTimeoutCause(parent.ctx, milliseconds(words[2]), cause(words[3]))
	case "with_value":
		var value any
		if words[3] != "nil" {
			value = words[3]
		}
		made.ctx = context.WithValue(parent.ctx, key(number(words[2][1:])), value)
	case "without_cancel":
		made.ctx = context.WithoutCancel(parent.ctx)
	default:
		panic("unknown operation: " + words[0])
	}
	if plain != nil {
		// The cancel function of a deadline takes no cause; a cancelable context above it does.
		made.cancel = func(error) { plain() }
	}
	m.contexts = append(m.contexts, made)
	return ""
}

func (m *machine) afterFunc(s *slot) string {
	f := len(m.stops)
	if s == nil {
		m.stops = append(m.stops, func() bool { return false })
		return "gone"
	}
	m.stops = append(m.stops, context.AfterFunc(s.ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.ran = append(m.ran, f)
	}))
	return ""
}

func (m *machine) advance(d time.Duration) string {
	synctest.Wait()
	if d > 0 {
		time.Sleep(d)
		synctest.Wait()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.ran) == 0 {
		return "-"
	}
	slices.Sort(m.ran)
	text := make([]string, len(m.ran))
	for i, f := range m.ran {
		text[i] = "f" + strconv.Itoa(f)
	}
	m.ran = m.ran[:0]
	return strings.Join(text, " ")
}

func nameOf(err error) string {
	switch err {
	case nil:
		return "-"
	case context.Canceled:
		return "canceled"
	case context.DeadlineExceeded:
		return "deadline_exceeded"
	}
	for i, c := range causeOf {
		if err == c {
			return "c" + strconv.Itoa(i)
		}
	}
	return "another error"
}

func (m *machine) read(ctx context.Context) string {
	err := ctx.Err()
	text := nameOf(err)
	closed := false
	select {
	case <-ctx.Done():
		closed = true
	default:
	}
	switch {
	case closed != (err != nil):
		panic("Done and Err differ")
	case err == nil && ctx.Done() == nil:
		text = "never"
	case err == nil:
		text = "live"
	}
	text += " " + nameOf(context.Cause(ctx))
	if when, ok := ctx.Deadline(); ok {
		// Not when.Sub(start), which saturates.
		text += " @" + strconv.FormatInt(when.UnixMilli()-m.start.UnixMilli(), 10)
	}
	for k := range keys {
		if value := ctx.Value(key(k)); value != nil {
			text += " k" + strconv.Itoa(k) + "=" + value.(string)
		}
	}
	return text
}

// Now is the time since the program's start, as an operand.
func (m *machine) now() string {
	return strconv.FormatInt(time.Since(m.start).Milliseconds(), 10)
}
