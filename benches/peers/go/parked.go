package main

import (
	"bytes"
	"log"
	"math"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// So many goroutines that wait at once.

// giveBackLimit is how long memory may take to be given back.
const giveBackLimit = 5 * time.Second

// wave is goroutines that wait for a channel to be closed.
type wave struct {
	door  chan struct{}
	ended sync.WaitGroup
	woken atomic.Int64
	start time.Duration // from the first's start until all have run
}

// begin starts them, and returns when all wait.
func begin(threads int64) *wave {
	var parked atomic.Int64
	w := &wave{door: make(chan struct{})}
	start := time.Now()
	w.ended.Add(int(threads))
	for range int(threads) {
		go func() {
			defer w.ended.Done()
			parked.Add(1)
			<-w.door
			w.woken.Add(1)
		}()
	}
	for parked.Load() < threads {
		runtime.Gosched()
	}
	w.start = time.Since(start)
	return w
}

// end wakes them, and returns how long it took until all had ended.
func (w *wave) end() time.Duration {
	start := time.Now()
	close(w.door)
	w.ended.Wait()
	return time.Since(start)
}

// memory is what the process has of the machine's, page tables too, in bytes.
func memory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		log.Fatal(err)
	}
	var sum int64
	for _, name := range []string{"VmRSS:", "VmPTE:"} {
		_, rest, _ := bytes.Cut(status, []byte("\n"+name))
		kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
		if err != nil {
			log.Fatal(err)
		}
		sum += kib << 10
	}
	return sum
}

func maps() int {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		log.Fatal(err)
	}
	return bytes.Count(text, []byte("\n"))
}

// givenBack is the milliseconds until memory is under a twentieth of the peak, or infinity.
func givenBack(before, peak int64) float64 {
	start := time.Now()
	for time.Since(start) < giveBackLimit {
		now := memory()
		peak = max(peak, now)
		if now-before < (peak-before)/20 {
			return float64(time.Since(start).Milliseconds())
		}
		time.Sleep(5 * time.Millisecond)
	}
	return math.Inf(1)
}

// parked starts goroutines that all wait to receive from one unbuffered channel, looks at what memory they
// take, and wakes them by closing it. Does so again, now with stacks that were used before, and looks how
// long the memory takes to go back to the system.
func parked(j job) *report {
	threads := int64(j.size)
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(threads) }

	before := memory()
	first := begin(threads)
	peak := memory()
	bytes := float64(peak-before) / float64(threads)
	maps := maps()
	wake := first.end()

	again := begin(threads)
	peak = max(peak, memory())
	again.end()

	return newReport(1, uint64(first.woken.Load()+again.woken.Load())).
		with("start", each(first.start)).
		with("wake", each(wake)).
		with("bytes", bytes).
		with("maps", float64(maps)).
		with("start-again", each(again.start)).
		with("given-back", givenBack(before, peak))
}
