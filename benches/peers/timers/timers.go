// Timers: what ../../timers.rs does with green threads, in Go.
//
// timers THREADS, with GOMAXPROCS as the environment has it, prints one line of keys and values.
package main

import (
	"fmt"
	"log"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	headStart = 8 * time.Microsecond // for each, before the first wakes
	apart     = 2 * time.Microsecond // on average, in the second wave
	naps      = 300
	trips     = 200_000
	long      = 10 * time.Second
)

// late is how late they woke, in nanoseconds: the sum, and the most.
var late, latest atomic.Int64

func note(nanos int64) {
	late.Add(nanos)
	for {
		most := latest.Load()
		if nanos <= most || latest.CompareAndSwap(most, nanos) {
			return
		}
	}
}

// wave starts goroutines that sleep until moments that are so far apart on average, in no order. It
// returns how long it took until all slept, and from the last moment until all had ended.
func wave(threads int, apart time.Duration) (time.Duration, time.Duration) {
	var sleeping atomic.Int64
	var ended sync.WaitGroup
	start := time.Now()
	first := start.Add(headStart*time.Duration(threads) + 50*time.Millisecond)
	spread := apart * time.Duration(threads)
	random := uint64(1)
	ended.Add(threads)
	for range threads {
		random = random*0x5851f42d4c957f2d + 0x14057b7ef767814f
		at := first.Add(time.Duration(float64(spread) * float64(random>>11) / (1 << 53)))
		go func() {
			defer ended.Done()
			sleeping.Add(1)
			time.Sleep(time.Until(at))
			note(time.Since(at).Nanoseconds())
		}()
	}
	for sleeping.Load() < int64(threads) {
		runtime.Gosched()
	}
	started := time.Since(start)
	if !time.Now().Before(first) {
		log.Fatal("the first woke before all slept")
	}
	ended.Wait()
	return started, time.Since(first.Add(spread))
}

// nap sleeps one after the other, and returns how late that ends: the mean and the most.
func nap() (float64, int64) {
	var sum, latest int64
	for n := range naps {
		nap := time.Duration(100+(n*1237)%2900) * time.Microsecond
		start := time.Now()
		time.Sleep(nap)
		late := (time.Since(start) - nap).Nanoseconds()
		sum += late
		latest = max(latest, late)
	}
	return float64(sum) / naps, latest
}

// trip is the nanoseconds of a round trip between two goroutines.
func trip(recv func(<-chan struct{})) float64 {
	ping, pong := make(chan struct{}, 1), make(chan struct{}, 1)
	go func() {
		for range trips {
			recv(ping)
			pong <- struct{}{}
		}
	}()
	start := time.Now()
	for range trips {
		ping <- struct{}{}
		recv(pong)
	}
	return float64(time.Since(start).Nanoseconds()) / trips
}

func main() {
	threads, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(threads) }

	napLate, napLatest := nap()
	plain := trip(func(c <-chan struct{}) { <-c })
	timed := trip(func(c <-chan struct{}) {
		timer := time.NewTimer(long)
		defer timer.Stop()
		select {
		case <-c:
		case <-timer.C:
			log.Fatal("the other is late")
		}
	})
	start, wake := wave(threads, 0)
	late.Store(0)
	latest.Store(0)
	wave(threads, apart)
	fmt.Println("start", each(start), "wake", each(wake), "late", float64(late.Load())/float64(threads),
		"latest", latest.Load(), "nap_late", napLate, "nap_latest", napLatest, "trip", plain,
		"timed_trip", timed)
}
