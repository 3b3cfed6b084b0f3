// Goroutines that share data under locks: what ../../sync.rs measures, in Go.
//
// With GOMAXPROCS as the environment has it, prints for each workload of sync.rs its name and the
// nanoseconds of an operation, the median of several runs. There is no unlocking twice and no poison.
package main

import (
	"fmt"
	"log"
	"runtime"
	"sort"
	"sync"
	"time"
)

// runs is how often each workload is measured.
const runs = 9

var sink uint64

func alone(times uint64) {
	var mutex sync.Mutex
	var total uint64
	for range times {
		mutex.Lock()
		total++
		mutex.Unlock()
	}
	sink = total
}

func aloneRead(times uint64) {
	var lock sync.RWMutex
	var value, total uint64
	for range times {
		lock.RLock()
		total += value
		lock.RUnlock()
	}
	sink = total
}

func aloneWrite(times uint64) {
	var lock sync.RWMutex
	var total uint64
	for range times {
		lock.Lock()
		total++
		lock.Unlock()
	}
	sink = total
}

// each runs body in so many goroutines, each with its share of the operations.
func each(count, times uint64, body func(share uint64)) {
	var ended sync.WaitGroup
	for id := range count {
		share := times / count
		if id < times%count {
			share++
		}
		ended.Go(func() { body(share) })
	}
	ended.Wait()
}

// contended returns a workload of so many goroutines that add to one number.
func contended(count uint64) func(uint64) {
	return func(times uint64) {
		var mutex sync.Mutex
		var total uint64
		each(count, times, func(share uint64) {
			for range share {
				mutex.Lock()
				total++
				mutex.Unlock()
			}
		})
		if total != times {
			log.Fatalf("%d additions of %d", total, times)
		}
	}
}

// yielding holds the lock while others run.
func yielding(times uint64) {
	var mutex sync.Mutex
	var total uint64
	each(8, times, func(share uint64) {
		for range share {
			mutex.Lock()
			runtime.Gosched()
			total++
			mutex.Unlock()
		}
	})
}

// mostlyRead writes once in sixteen operations.
func mostlyRead(times uint64) {
	var lock sync.RWMutex
	var value uint64
	each(8, times, func(share uint64) {
		var read uint64
		for n := range share {
			if n%16 == 15 {
				lock.Lock()
				value++
				lock.Unlock()
			} else {
				lock.RLock()
				read += value
				lock.RUnlock()
			}
		}
		_ = read
	})
}

// pingPong has two goroutines take turns.
func pingPong(times uint64) {
	var mutex sync.Mutex
	changed := sync.NewCond(&mutex)
	var turn uint64
	turns := func(mine uint64) {
		mutex.Lock()
		for range times {
			for turn%2 != mine {
				changed.Wait()
			}
			turn++
			changed.Signal()
		}
		mutex.Unlock()
	}
	var ended sync.WaitGroup
	ended.Go(func() { turns(1) })
	turns(0)
	ended.Wait()
}

// measure prints the median of what an operation takes.
func measure(name string, times uint64, workload func(uint64)) {
	workload(times / 10)
	taken := make([]float64, runs)
	for run := range taken {
		start := time.Now()
		workload(times)
		taken[run] = float64(time.Since(start).Nanoseconds()) / float64(times)
	}
	sort.Float64s(taken)
	fmt.Printf("%-44s %8.1f\n", name, taken[runs/2])
}

func main() {
	fmt.Printf("%s, GOMAXPROCS=%d, ns per operation\n", runtime.Version(), runtime.GOMAXPROCS(0))
	measure("mutex, alone", 2_000_000, alone)
	measure("mutex, 2 contenders", 2_000_000, contended(2))
	measure("mutex, 8 contenders", 2_000_000, contended(8))
	measure("mutex, 64 contenders", 2_000_000, contended(64))
	measure("mutex held over a yield, 8 contenders", 100_000, yielding)
	measure("rwlock, alone, a read", 2_000_000, aloneRead)
	measure("rwlock, alone, a write", 2_000_000, aloneWrite)
	measure("rwlock, 8 contenders, 1 in 16 writes", 2_000_000, mostlyRead)
	measure("condvar ping-pong, a round trip", 200_000, pingPong)
}
