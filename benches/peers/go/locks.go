package main

import (
	"runtime"
	"sync"
)

// Goroutines that share data under locks. There is no unlocking twice and no poison.

// mutexAlone takes a lock that nobody else wants, so many times.
func mutexAlone(j job) *report {
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			var lock sync.Mutex
			var number uint64
			for range n {
				lock.Lock()
				number ^= 1
				lock.Unlock()
				sum++
			}
			return sum
		})
	})
}

// readAlone does so with one for readers.
func readAlone(j job) *report {
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			var lock sync.RWMutex
			var number uint64
			for range n {
				lock.RLock()
				sum += 1 + number
				lock.RUnlock()
			}
			return sum
		})
	})
}

// writeAlone does so with one for a writer.
func writeAlone(j job) *report {
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			var lock sync.RWMutex
			var number uint64
			for range n {
				lock.Lock()
				number ^= 1
				lock.Unlock()
				sum++
			}
			return sum
		})
	})
}

// together has goroutines each do its part of n operations. The checksum is what
// they return, and what end finds.
func together[L any](j job, operations func(lock *L, n uint64) uint64, end func(lock *L) uint64) *report {
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			lock := new(L)
			results := make([]uint64, j.size)
			var ended sync.WaitGroup
			for id := range results {
				part := share(n, uint64(j.size), uint64(id))
				ended.Go(func() { results[id] = operations(lock, part) })
			}
			ended.Wait()
			for _, result := range results {
				sum += result
			}
			return sum + end(lock)
		})
	})
}

// counter is a number under a lock.
type counter struct {
	sync.Mutex
	count uint64
}

func counted(n *counter) uint64 { return n.count }

// mutex has them add to one number.
func mutex(j job) *report {
	return together(j, func(shared *counter, n uint64) uint64 {
		for range n {
			shared.Lock()
			shared.count++
			shared.Unlock()
		}
		return 0
	}, counted)
}

// mutexWork has them compute, for a little while with the lock and for a longer one
// without.
func mutexWork(j job) *report {
	return together(j, func(shared *counter, n uint64) uint64 {
		for range n {
			shared.Lock()
			compute(locked)
			shared.count++
			shared.Unlock()
			compute(unlocked)
		}
		return 0
	}, counted)
}

// mutexHeld has them let others run while they hold the lock.
func mutexHeld(j job) *report {
	return together(j, func(shared *counter, n uint64) uint64 {
		for range n {
			shared.Lock()
			runtime.Gosched()
			shared.count++
			shared.Unlock()
		}
		return 0
	}, counted)
}

// rwCounter is one that many may read.
type rwCounter struct {
	sync.RWMutex
	count uint64
}

// rwlock has one of sixteen operations write.
func rwlock(j job) *report {
	return together(j, func(shared *rwCounter, n uint64) (reads uint64) {
		for operation := range n {
			if operation%16 == 15 {
				shared.Lock()
				shared.count++
				shared.Unlock()
			} else {
				shared.RLock()
				if shared.count <= 1<<63 {
					reads++
				}
				shared.RUnlock()
			}
		}
		return reads
	}, func(shared *rwCounter) uint64 { return shared.count })
}

// condvar has two take turns.
func condvar(j job) *report {
	return j.repeat(func(n uint64) timed {
		return timing(func() uint64 {
			var lock sync.Mutex
			changed := sync.NewCond(&lock)
			var turn uint64
			turns := func(mine uint64) {
				lock.Lock()
				for range n {
					for turn%2 != mine {
						changed.Wait()
					}
					turn++
					changed.Signal()
				}
				lock.Unlock()
			}
			var ended sync.WaitGroup
			ended.Go(func() { turns(1) })
			turns(0)
			ended.Wait()
			return turn / 2
		})
	})
}
