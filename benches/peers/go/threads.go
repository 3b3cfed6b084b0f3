package main

import (
	"runtime"
	"sync"
)

// Starting, joining, yielding. A goroutine has no handle to join: a WaitGroup takes its place, and
// the result goes to a variable.

func spawnOne(j job) *report {
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			var ended sync.WaitGroup
			for i := range n {
				var result uint64
				ended.Go(func() { result = i })
				ended.Wait()
				sum += result
			}
			return sum
		})
	})
}

func spawnMany(j job) *report {
	results := make([]uint64, j.size)
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			for range n {
				var ended sync.WaitGroup
				for i := range results {
					ended.Go(func() { results[i] = uint64(i) })
				}
				ended.Wait()
				for _, result := range results {
					sum += result
				}
			}
			return sum
		})
	})
}

func yields(j job) *report {
	half := func(n uint64) (count uint64) {
		for range n {
			runtime.Gosched()
			count++
		}
		return count
	}
	return j.repeat(func(n uint64) timed {
		return timing(func() uint64 {
			var others uint64
			var ended sync.WaitGroup
			ended.Go(func() { others = half(n / 2) })
			mine := half(n - n/2)
			ended.Wait()
			return mine + others
		})
	})
}

// burst starts so many at a time from outside: from a goroutine that has an OS thread of its own.
func burst(j job) *report {
	runtime.LockOSThread()
	return spawnMany(j)
}
