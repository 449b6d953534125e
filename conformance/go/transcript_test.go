// Prints transcripts of programs as Go's context package performs them: of random ones, or of those that it reads.
// A test, since testing/synctest works within tests only:
//
//	go test -c -o oracle && ./oracle -seed 1 -programs 1000
//	./oracle -replay < programs.txt
package conformance

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
)

var (
	seed     = flag.Uint64("seed", 1, "of the random programs")
	programs = flag.Int("programs", 0, "how many random programs")
	replay   = flag.Bool("replay", false, "perform the programs on standard input instead")

	transcript *bufio.Writer
)

func TestMain(m *testing.M) {
	flag.Parse()
	transcript = bufio.NewWriterSize(os.Stdout, 1<<16)
	os.Stdout = os.Stderr // what the package testing says is no transcript
	code := m.Run()
	if err := transcript.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func perform(m *machine, line string) {
	answer := m.perform(line)
	transcript.WriteString(line)
	if answer != "" {
		transcript.WriteString(" = ")
		transcript.WriteString(answer)
	}
	transcript.WriteByte('\n')
}

// Finish ends what is left, so that the bubble can close.
func finish(m *machine) {
	for _, s := range m.contexts {
		if s.cancel != nil {
			s.cancel(nil)
		}
	}
	synctest.Wait()
}

func TestRandomPrograms(t *testing.T) {
	for i := range *programs {
		random := rand.New(rand.NewPCG(*seed, uint64(i)))
		fmt.Fprintf(transcript, "program %d.%d\n", *seed, i)
		synctest.Test(t, func(*testing.T) {
			m := newMachine()
			g := generator{random, m}
			for range 10 + g.number(51) {
				perform(m, g.next())
			}
			perform(m, "advance 0")
			for n, s := range m.contexts {
				if n > 0 && s.ctx != nil {
					perform(m, "read "+strconv.Itoa(n))
				}
			}
			finish(m)
		})
	}
}

func TestReplay(t *testing.T) {
	if !*replay {
		t.Skip("without -replay")
	}
	lines := bufio.NewScanner(os.Stdin)
	more := lines.Scan()
	for more {
		fmt.Fprintln(transcript, lines.Text())
		synctest.Test(t, func(*testing.T) {
			m := newMachine()
			for more = lines.Scan(); more && !strings.HasPrefix(lines.Text(), "program "); more = lines.Scan() {
				operation, _, _ := strings.Cut(lines.Text(), " = ")
				perform(m, operation)
			}
			finish(m)
		})
	}
}
