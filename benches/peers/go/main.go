// The workloads on goroutines.
//
// The protocol is in ../README.md; this file has the command line, repeating and timing.
package main

import (
	"fmt"
	"log"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// job is what the command line asks for.
type job struct {
	size   int           // how large the workload is; what that means is the workload's
	sample time.Duration // how long one sample should take
}

var workloads = []struct {
	name string
	run  func(job) *report
}{
	{"spawn-one", spawnOne},
	{"spawn-many", spawnMany},
	{"burst", burst},
	{"yield", yields},
	{"mutex-alone", mutexAlone},
	{"mutex-2", mutex},
	{"mutex", mutex},
	{"mutex-64", mutex},
	{"mutex-work", mutexWork},
	{"mutex-held", mutexHeld},
	{"read-alone", readAlone},
	{"write-alone", writeAlone},
	{"rwlock", rwlock},
	{"condvar", condvar},
	{"fib", fib},
	{"quicksort", quicksort},
	{"matmul", matmul},
	{"skynet", skynet},
	{"queens", queens},
	{"ping-pong", pingPong},
	{"ring", ring},
	{"spsc", spsc},
	{"mpmc", mpmc},
	{"pipeline", pipeline},
	{"select", selects},
	{"sieve", sieve},
	{"parked", parked},
	{"wake", wake},
	{"timers", timers},
	{"mix", mix},
	{"mix-hogs", mixHogs},
	{"turns-yield", turnsYield},
	{"turns-talk", turnsTalk},
	{"turns-crowd", turnsCrowd},
	{"turns-fork", turnsFork},
	{"turns-hogs", turnsHogs},
}

func main() {
	log.SetFlags(0)
	args := os.Args[1:]
	switch {
	case len(args) == 1 && args[0] == "list":
		for _, workload := range workloads {
			fmt.Println(workload.name)
		}
	case len(args) == 4:
		workers, size, millis := number(args[1]), number(args[2]), number(args[3])
		runtime.GOMAXPROCS(workers)
		for _, workload := range workloads {
			if workload.name == args[0] {
				fmt.Println(workload.run(job{size, time.Duration(millis) * time.Millisecond}))
				return
			}
		}
		fail("there is no workload " + args[0])
	default:
		fail("arguments: list, or WORKLOAD WORKERS SIZE MILLIS")
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(2)
}

func number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		fail(word + " is not a number")
	}
	return n
}

// timed is time taken, and what was computed meanwhile.
type timed struct {
	taken    time.Duration
	checksum uint64
}

// timing times f, which gives a checksum.
func timing(f func() uint64) timed {
	start := time.Now()
	checksum := f()
	return timed{time.Since(start), checksum}
}

// samples is how many are taken; their median is reported.
const samples = 5

// repeat runs repetitions(n), which repeats the workload n times, with an n that makes it take about as long
// as a sample should, and reports the time of one repetition.
func (j job) repeat(repetitions func(n uint64) timed) *report {
	// Finding the number warms up as well.
	n := uint64(1)
	for {
		taken := max(repetitions(n).taken, 1)
		if taken > j.sample/2 {
			break
		}
		growth := float64(j.sample) / float64(taken)
		n = uint64(float64(n)*min(max(growth, 1.5), 10)) + 1
	}

	first := repetitions(n)
	times, sum := []time.Duration{first.taken}, first.taken
	// What cannot be repeated faster than this has few samples.
	for len(times) < samples && sum < 10*j.sample {
		next := repetitions(n)
		if next.checksum != first.checksum {
			log.Fatal("two samples differ")
		}
		times, sum = append(times, next.taken), sum+next.taken
	}
	slices.Sort(times)
	each := func(d time.Duration) float64 { return float64(d) / float64(n) }
	return newReport(n, first.checksum).
		with("ns", each(times[len(times)/2])).
		with("min", each(times[0]))
}

// report is the line that is printed.
type report struct{ strings.Builder }

func newReport(repetitions, checksum uint64) *report {
	r := &report{}
	fmt.Fprintf(r, "reps %d checksum %d", repetitions, checksum)
	return r
}

// with adds a figure.
func (r *report) with(name string, figure float64) *report {
	fmt.Fprintf(r, " %s %g", name, figure)
	return r
}

// share is the part of n that one of several has; the parts differ by one at most.
func share(n, of, id uint64) uint64 {
	part := n / of
	if id < n%of {
		part++
	}
	return part
}
